/** The log and the record of a build: Status follows it, and the history has it. All builds of a daemon begin here. */
import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { recordStatus } from '../../../engine/index.ts';
import { type DrydockError, toDrydockError } from '../../../errors/index.ts';
import { type SolveRequest, SolveRequestSchema } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { AskedBuild } from '../../../records/index.ts';
import type { BuildLog } from '../../shared/build-log.ts';
import type { RecordFollowed } from '../../shared/recording.ts';
import type { History } from '../history/history.ts';
import { endOf, type RecordedEnd } from '../history/record.ts';
import type { Jobs } from './jobs.ts';

/** The parts of a daemon that hear of each build. */
interface Records {
  jobs: Jobs;
  history: History;
}

interface BegunBuild {
  readonly log: BuildLog;
  /** One of `ended` and `failed` is called, once. */
  ended(end: RecordedEnd): void;
  /** Gives the error as it is told. */
  failed(error: unknown): DrydockError;
}

/**
 * Begins a build under the reference of its request; one that is internal gets no record. `given` is the log of a build
 * that is followed already. Throws `exists` when the owner has a running build of this reference.
 */
export function beginBuild(
  { jobs, history }: Records,
  owner: string,
  request: SolveRequest,
  given?: BuildLog,
): BegunBuild {
  const { log, end } = jobs.start(owner, request.Ref, given);
  const record = request.Internal ? undefined : history.started(owner, request.Ref, request);
  const over = (how: RecordedEnd) => {
    record?.completed(log, how);
    end();
  };
  return {
    log,
    ended: over,
    failed(err) {
      const error = toDrydockError(err);
      over({ error: recordStatus(error) });
      return error;
    },
  };
}

/** Makes the function that begins builds of which another API was asked. */
export function recordBuild(records: Records): RecordFollowed {
  return ({ log: given, ref = randomUUID(), ...asked }) => {
    const request = solveRequest(ref, asked);
    const { log, ended, failed } = beginBuild(records, asked.owner, request, given);
    return {
      ref: request.Ref,
      sink: log,
      ended: (built) => ended(endOf(built)),
      failed: (error) => void failed(error),
    };
  };
}

/** The request by which a client of BuildKit would have asked for a build. */
export function solveRequest(
  Ref: string,
  { frontend, options, outputs }: Omit<AskedBuild, 'owner'>,
): SolveRequest {
  return create(SolveRequestSchema, {
    Ref,
    Frontend: frontend,
    FrontendAttrs: { ...options },
    Exporters: outputs.map(({ type, attrs }) => ({ Type: type, Attrs: { ...attrs } })),
  });
}
