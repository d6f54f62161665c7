/** A build as BuildKit's API asks for it: a definition, a frontend or the client's own frontend; then the exports. */
import { throwIfAborted } from '../errors/error.ts';
import { createExporter } from '../exporter/exporters.ts';
import type { WorkerRecord } from '../pb/moby/buildkit/v1/types/worker_pb.js';
import type { Session } from '../session/types.ts';
import { Job } from '../solver/job.ts';
import type { ProgressSink } from '../solver/progress.ts';
import { Bridge } from './bridge/bridge.ts';
import { frontends } from './bridge/frontends.ts';
import { platformResults } from './bridge/platforms.ts';
import type { BridgeRequest, BridgeResult } from './bridge/types.ts';
import { autoPrune } from './disk-usage.ts';
import type { Engine } from './engine.ts';
import { Gateway } from './gateway/gateway.ts';
import { epochArg, namesOf, requireRoot } from './run.ts';
import type { OutputSpec } from './types.ts';

export interface SolveRequest extends BridgeRequest {
  outputs: readonly OutputSpec[];
  /** Entitlements granted. */
  allow: readonly string[];
  workers: readonly WorkerRecord[];
  /** What of the request has no effect here, a sentence each: shown as warnings. */
  notes: readonly string[];
}

export interface SolveResult {
  result: BridgeResult;
  /** Exporters' responses, merged: `containerimage.digest` … */
  metadata: Record<string, unknown>;
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
  requireRoot();
  // Mistakes in the outputs are said before any work is done.
  const exporters = request.outputs.flatMap((output) => {
    if (output.type === 'cacheonly') return [];
    return [{ output, exporter: createExporter(output.type, output.attrs), names: namesOf(output, []) }];
  });
  const job = new Job(session, sink, signal);
  const lease = `build-${job.id}`;
  await engine.store.leases.create(lease);
  try {
    if (request.notes.length > 0) {
      await job.inVertex('[internal] reading the request', async (progress) => {
        for (const short of request.notes) progress.warn({ level: 1, short, detail: [] });
      });
    }
    const { allow, workers } = request;
    const bridge = new Bridge({ engine, job, lease, allow, workers }, frontends);
    const result = isOwnFrontend(request)
      ? await clientFrontend(bridge, request, openGateway)
      : await bridge.solve(request);
    const results = await platformResults(result);
    const metadata: Record<string, unknown> = {};
    for (const { output, exporter, names } of exporters) {
      throwIfAborted(job.signal);
      const sourceDateEpoch = epochArg({ SOURCE_DATE_EPOCH: epochOf(request.options) });
      const response = await job.inVertex(exporter.title, (progress) =>
        exporter.export(
          { results, attrs: output.attrs, names, sourceDateEpoch },
          {
            store: engine.store,
            registry: engine.registry,
            session,
            progress,
            signal: job.signal,
            lease,
            sink: output.sink,
          },
        ),
      );
      Object.assign(metadata, response.metadata);
    }
    return { result, metadata };
  } finally {
    await engine.solver.release(job);
    await engine.store.leases.delete(lease);
    await autoPrune(engine);
  }
}

function epochOf(options: Readonly<Record<string, string>>): string {
  return Object.hasOwn(options, 'build-arg:SOURCE_DATE_EPOCH')
    ? (options['build-arg:SOURCE_DATE_EPOCH'] as string)
    : '';
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
