/** A build as BuildKit's API asks for it: a definition, a frontend or the client's own frontend; then the exports. */
import { throwIfAborted } from '../errors/error.ts';
import type { PlatformResult, StoredOutput } from '../exporter/types.ts';
import { sourceRewrite } from '../llb/source-policy.ts';
import { formatPlatform, hostPlatform } from '../oci/platform.ts';
import type { Descriptor } from '../oci/types.ts';
import type { Policy } from '../pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import type { WorkerRecord } from '../pb/moby/buildkit/v1/types/worker_pb.js';
import type { ProgressSink } from '../progress/events.ts';
import type { CacheSpec } from '../remote-cache/types.ts';
import type { Session } from '../session/types.ts';
import type { Job } from '../solver/job.ts';
import { epochSeconds } from '../words/epoch.ts';
import { Bridge } from './bridge/bridge.ts';
import { type Frontends, frontends } from './bridge/frontends.ts';
import { frontendEpoch, platformDefinitions, platformResults } from './bridge/platforms.ts';
import { type PolicyCheck, type SourceJudge, sourceJudge } from './bridge/source-judge.ts';
import type { BridgeRequest, BridgeResult } from './bridge/types.ts';
import { platformMismatch } from './bridge/verify-platforms.ts';
import { takeCourse } from './course.ts';
import type { Engine } from './engine.ts';
import { Gateway } from './gateway/gateway.ts';
import { sourceMeta } from './gateway/sources.ts';
import { frontendAnnotations, frontendNames, overlaid } from './output-metadata.ts';
import type { OutputSpec } from './types.ts';

export interface SolveRequest extends BridgeRequest {
  outputs: readonly OutputSpec[];
  /** Entitlements granted. */
  allow: readonly string[];
  policies: readonly Policy[];
  /** Asks the client's own policy about each source that is used. */
  policyCheck?: PolicyCheck;
  /** Images have docker's media types unless an output says otherwise. */
  dockerTypes: boolean;
  workers: readonly WorkerRecord[];
  /** Frontends that the build may name; default: all there are. */
  frontends?: Frontends;
  /** Caches from elsewhere to look steps up in. */
  cacheFrom: readonly CacheSpec[];
  /** Where to write the build's cache for others. */
  cacheTo: readonly CacheSpec[];
  /** The client that chooses exporters once it has seen the result. */
  exporterChoice?: ExporterChoice;
  /** What of the request has no effect here, a sentence each: shown as warnings. */
  notes: readonly string[];
}

export interface ExporterChoice {
  /** The outputs wanted for a result whose refs have these ids in the build's gateway. */
  find(result: BridgeResult, refs: string[]): Promise<OutputSpec[]>;
  /** Told of the exporters' responses; what it throws fails the build. */
  finalize(result: BridgeResult, metadata: Record<string, unknown>): Promise<void>;
}

export interface SolveResult {
  result: BridgeResult;
  /** Exporters' responses, merged: `containerimage.digest` … */
  metadata: Record<string, unknown>;
  /** What outputs that make images made, by their place among the outputs. */
  descriptors: ReadonlyMap<number, Descriptor>;
  /** The manifests, configs and indexes of those. */
  documents: readonly Buffer[];
  /** Bytes of the image, where one was made. */
  size?: number;
  /** Images that were put into the store. */
  stored: readonly StoredOutput[];
}

/**
 * Runs a build to its end. `openGateway` is called for a build whose client is its own frontend (neither definition nor
 * frontend); it makes the gateway reachable and returns how to end that. Rejects with a DrydockError, with `canceled`
 * once the signal fired and everything has stopped.
 */
export async function runSolve(
  engine: Engine,
  request: SolveRequest,
  session: Session,
  sink: ProgressSink,
  signal: AbortSignal,
  openGateway: (gateway: Gateway) => () => void,
): Promise<SolveResult> {
  const choice = request.exporterChoice;
  let built: Bridge | undefined;
  const {
    value: result,
    first,
    metadata,
    descriptors,
    documents,
    stored,
  } = await takeCourse<BridgeResult>(engine, {
    outputs: request.outputs,
    tags: [],
    sourceDateEpoch: epochOf(request.options),
    cacheFrom: request.cacheFrom,
    cacheTo: request.cacheTo,
    dockerTypes: request.dockerTypes,
    allow: request.allow,
    session,
    sink,
    signal,
    async work(job, lease, caches) {
      if (request.notes.length > 0) {
        await job.inVertex('[internal] reading the request', async (progress) => {
          for (const short of request.notes) progress.warn({ level: 1, short, detail: [] });
        });
      }
      const rewrite = sourceRewrite(request.policies);
      const { policyCheck } = request;
      const judge = policyCheck && ((bridge: Bridge) => clientJudge(bridge, policyCheck));
      const parts = { engine, job, lease, rewrite, judge, workers: request.workers, caches };
      const bridge = new Bridge(parts, request.frontends ?? frontends);
      built = bridge;
      const value = isOwnFrontend(request)
        ? await clientFrontend(bridge, request, openGateway)
        : await bridge.solve(request);
      const results = await platformResults(value);
      await verifyPlatforms(job, request.options.platform, value, results);
      return {
        value,
        results,
        definitions: platformDefinitions(value),
        epoch: frontendEpoch(value),
        names: frontendNames(value),
        annotations: frontendAnnotations(value),
        isList: value.refs !== undefined,
        described: (metadata) => platformResults(overlaid(value, metadata)),
      };
    },
    ...(choice !== undefined && {
      furtherOutputs: (value) => chosenOutputs(built as Bridge, value, choice, openGateway),
      exported: (value, metadata) => choice.finalize(value, metadata),
    }),
  });
  return { result, metadata, descriptors, documents, size: first?.size, stored };
}

/** Warns when a frontend made other platforms than it was asked for. */
async function verifyPlatforms(
  job: Job,
  asked: string | undefined,
  { ref, refs, metadata }: BridgeResult,
  made: readonly PlatformResult[],
): Promise<void> {
  if (metadata['refs.platforms'] === undefined && ref === undefined && refs === undefined) return;
  const platforms = made.map(({ platform }) => platform);
  const host = formatPlatform(hostPlatform());
  const warnings = platformMismatch(asked ?? host, platforms, refs !== undefined);
  if (warnings.length === 0) return;
  await job.inVertex('[internal] verifying the result', async (progress) => {
    for (const short of warnings) progress.warn({ level: 1, short, detail: [] });
  });
}

function epochOf(options: Readonly<Record<string, string>>): number | undefined {
  const name = 'build-arg:SOURCE_DATE_EPOCH';
  return Object.hasOwn(options, name) ? epochSeconds(options[name]) : undefined;
}

/** What a policy wants to know of a source is looked up without asking it again. */
function clientJudge(bridge: Bridge, check: PolicyCheck): SourceJudge {
  return sourceJudge(check, (request) => sourceMeta(bridge, request, {}));
}

/** The outputs that the client chooses while it can look at the result through a gateway. */
async function chosenOutputs(
  bridge: Bridge,
  value: BridgeResult,
  choice: ExporterChoice,
  open: (gateway: Gateway) => () => void,
): Promise<OutputSpec[]> {
  const gateway = new Gateway(bridge);
  const close = open(gateway);
  try {
    return await choice.find(value, gateway.idsOf(value));
  } finally {
    close();
    await gateway.close();
  }
}

function isOwnFrontend({ definition, frontend }: BridgeRequest): boolean {
  return frontend === '' && definition === undefined;
}

/** The client solves by calls of its own until it returns the result. */
async function clientFrontend(
  bridge: Bridge,
  { inputs }: BridgeRequest,
  open: (gateway: Gateway) => () => void,
): Promise<BridgeResult> {
  const gateway = new Gateway(bridge, inputs);
  const close = open(gateway);
  const { signal } = bridge.job;
  const giveUp = () => gateway.giveUp(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    throwIfAborted(signal);
    return await gateway.returned;
  } finally {
    signal.removeEventListener('abort', giveUp);
    close();
    await gateway.close();
  }
}
