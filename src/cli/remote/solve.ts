/** Calls Control.Solve at a daemon, and meanwhile shows the progress from Status. */
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient, type Transport } from '@connectrpc/connect';
import { buildIdHeader, findingsOf, replay } from '../../api/index.ts';
import { canceled, type DrydockError } from '../../errors/index.ts';
import type { LintWarning } from '../../frontend/index.ts';
import { Control, type SolveRequestSchema } from '../../pb/moby/buildkit/v1/control_pb.js';
import type { ProgressSink } from '../../progress/index.ts';
import { imageSizeKey } from '../../records/index.ts';
import type { Endpoint } from './endpoint.ts';
import { failureOf } from './failure.ts';
import { grpcTo } from './grpc.ts';

import { StepTails } from './tails.ts';

/** How long a daemon may take to tell how a failed or canceled build's steps have ended, in ms. */
const lastWordsMs = 1000;

interface SolveAnswer {
  response: Record<string, string>;
  /** The findings of the build checks. */
  warnings: LintWarning[];
}

/** A client that is its own frontend; the headers name its build in its calls. */
export interface OwnFrontend {
  transport: Transport;
  call: { headers: Record<string, string>; signal: AbortSignal };
  /** The failure of a call, with the failed step's name and last lines. */
  told(err: unknown): Promise<DrydockError>;
}

/**
 * Solves at a daemon, under the request's reference or one of its own. A request without a definition and without a frontend is for a client that is its own frontend,
 * `frontend`. Rejects with the daemon's error, or with `canceled` when the signal fires.
 *
 *     await solveAt(endpoint, { Frontend: 'dockerfile.v0', FrontendAttrs, Session: id }, sink, signal);
 */
export async function solveAt(
  endpoint: Endpoint,
  request: MessageInitShape<typeof SolveRequestSchema>,
  sink: ProgressSink,
  signal: AbortSignal,
  frontend?: (own: OwnFrontend) => Promise<void>,
): Promise<SolveAnswer> {
  const transport = grpcTo(endpoint);
  const control = createClient(Control, transport);
  const Ref = request.Ref || randomUUID();
  const over = new AbortController();
  const headers = { ...endpoint.headers, [imageSizeKey]: '1' };
  const call = { headers, signal: AbortSignal.any([signal, over.signal]) };
  const warnings: LintWarning[] = [];
  const tails = new StepTails(sink);
  const told = (err: unknown) => tails.complete(failureOf(endpoint, err));
  const watching = (async () => {
    // Goes on when the build is canceled: the ends of its steps are still to come.
    for await (const message of control.status({ Ref }, { headers, signal: over.signal })) {
      replay(message, tails.sink);
      warnings.push(...findingsOf(message));
    }
  })();
  watching.catch(() => {});
  try {
    const solving = control.solve({ ...request, Ref }, call);
    const ownCall = { ...call, headers: { ...endpoint.headers, [buildIdHeader]: Ref } };
    const own = { transport, call: ownCall, told };
    const [{ ExporterResponse: response }] = await Promise.all([solving, frontend?.(own)]);
    await watching.catch(() => {});
    return { response, warnings };
  } catch (err) {
    // What it still has to say of the failed and canceled steps comes before the error.
    await Promise.race([watching.catch(() => {}), new Promise((done) => setTimeout(done, lastWordsMs))]);
    if (signal.aborted) throw canceled(signal.reason);
    throw await told(err);
  } finally {
    over.abort();
  }
}
