/** All services of BuildKit's API for one daemon. */
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { identityKey } from '../../auth/index.ts';
import { allowedFrontends, type FrontendRule } from '../../engine/index.ts';
import type { Platform } from '../../oci/index.ts';
import { readFilters } from '../../patterns/index.ts';
import { Content } from '../../pb/containerd/content_pb.js';
import { Health, HealthCheckResponse_ServingStatus } from '../../pb/grpc/health_pb.js';
import { Control } from '../../pb/moby/buildkit/v1/control_pb.js';
import { LLBBridge } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { TraceService } from '../../pb/otlp/trace_service_pb.js';
import { sessionOverCall } from '../../session/index.ts';
import type { ApiHost } from '../shared/host.ts';
import type { Observed } from '../shared/observed.ts';
import type { BuildsByResult, RecordFollowed } from '../shared/recording.ts';
import { usageService } from './control/disk-usage.ts';
import { solveService } from './control/solve.ts';
import { statusMethod } from './control/status.ts';
import { buildkitVersion, withPlatforms, workerDevices, workerNow, workerRecord } from './control/workers.ts';
import { Gateways } from './gateway/gateways.ts';
import { gatewayService } from './gateway/service.ts';
import { buildsByResult } from './history/by-result.ts';
import { contentService } from './history/content.ts';
import { openHistory } from './history/open.ts';
import { historyService } from './history/service.ts';
import { Jobs } from './jobs/jobs.ts';
import { recordBuild } from './jobs/record-build.ts';
import type { RawMethod } from './raw.ts';
import { reflection } from './reflection.ts';

/** The largest message, in bytes, of methods that are open to everyone who can connect. */
const maxOpenMessage = 4 << 10;

/** The options of BuildKit's API. */
export interface BuildkitOptions {
  /**
   * The entitlements that a build gets when it asks, whoever started it, as with buildkitd. Undefined: those in the
   * caller's authority.
   */
  entitlements?: readonly string[];
  /** The platforms that clients are told of; default: the host's. */
  platforms?: readonly Platform[];
  /** The rules for frontends, by the frontends' names; default: builds may name all of them. */
  frontends?: Readonly<Record<string, FrontendRule>>;
  /** The labels of the worker, besides its own. */
  labels?: Readonly<Record<string, string>>;
  /** How many ended builds are remembered, and for how long (ms). */
  history?: { maxEntries?: number; maxAge?: number };
}

/** The call that carries a client's session. */
export const sessionPath = '/moby.buildkit.v1.Control/Session';

export interface BuildkitServices {
  routes(router: ConnectRouter): void;
  /** The methods that get the bytes of messages rather than messages, by path. */
  raw: Readonly<Record<string, RawMethod>>;
  /** Begins the log and the record of a build that did not come by this API. */
  record: RecordFollowed;
  /** The builds in the history by what they made. */
  buildsByResult: BuildsByResult;
  /** The running builds and the history. */
  observed: Observed;
  /** Ends streams that have no end of their own, and closes the history once it has the builds that have ended. */
  close(): Promise<void>;
}

/** Makes the services of a daemon. */
export async function buildkitServices(host: ApiHost, options: BuildkitOptions): Promise<BuildkitServices> {
  const closing = new AbortController();
  const gateways = new Gateways();
  const jobs = new Jobs(host.engine.store.runDir);
  const history = openHistory(host.engine.store.root, { jobs, limits: options.history ?? {} });
  const known = workerRecord(host, options);
  const worker = () => withPlatforms(known, host, options);
  const solve = solveService({
    host,
    jobs,
    gateways,
    history,
    worker,
    entitlements: options.entitlements,
    frontends: allowedFrontends(options.frontends ?? {}),
  });
  const usage = usageService(host);
  const records = historyService(history, closing.signal);
  return {
    close() {
      closing.abort();
      return history.close();
    },
    record: recordBuild({ jobs, history }),
    observed: { jobs, history },
    buildsByResult: (reach) => buildsByResult(history, reach),
    raw: {
      '/moby.buildkit.v1.Control/Status': statusMethod({ jobs, history }),
      [sessionPath]: (request, response, { identity }) => {
        const owner = identityKey(identity);
        sessionOverCall(host.sessions, request, response, { signal: closing.signal, owner });
      },
    },
    routes(router) {
      router.service(Control, {
        ...usage,
        ...records,
        solve: solve.solve,
        async listWorkers({ filter }) {
          const now = await workerNow(await worker(), host);
          if (!readFilters(filter)({ id: now.ID, labels: now.Labels })) return {};
          // Devices come and go.
          return { record: [{ ...now, CDIDevices: await workerDevices(host) }] };
        },
        info: () => ({ buildkitVersion }),
      });
      router.service(LLBBridge, gatewayService(gateways));
      router.service(Content, contentService(history, host.engine.store));
      const open = { readMaxBytes: maxOpenMessage };
      const health: ServiceImpl<typeof Health> = {
        check: () => ({ status: HealthCheckResponse_ServingStatus.SERVING }),
        async *watch(_request, { signal }) {
          yield { status: HealthCheckResponse_ServingStatus.SERVING };
          await fired(AbortSignal.any([signal, closing.signal]));
        },
      };
      router.service(Health, health, open);
      router.service(TraceService, {
        export({ resourceSpans }) {
          // Where no spans are asked for, those of clients go nowhere.
          host.engine.tracing?.passOn(resourceSpans);
          return {};
        },
      });
      reflection(router, [Control, LLBBridge, Content, Health, TraceService], open);
    },
  };
}

function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
