/** The builds in a history: a daemon's, over its API, or the one of the root here. */
import { createClient } from '@connectrpc/connect';
import { fail, toDrydockError } from '../../errors/index.ts';
import { type BuildHistoryRecord, Control } from '../../pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../pb/moby/buildkit/v1/status_pb.js';
import type { BuildDetails } from '../../records/index.ts';
import type { CommandContext } from '../command.ts';
import { askJson, type Endpoint } from '../remote/endpoint.ts';
import { failureOf } from '../remote/failure.ts';
import { grpcTo } from '../remote/grpc.ts';

/** A history of builds. `close` lets it go. */
export interface BuildHistory {
  /** The builds that run, then the ended ones that fit one of the filters, newest first. */
  list(filters: readonly string[]): Promise<BuildHistoryRecord[]>;
  /** The progress of a build. Of one that runs, until it ends. Throws `not-found`. */
  progress(ref: string): AsyncIterable<StatusResponse>;
  /** The Dockerfiles of an ended build, as they were; none where they are not kept. */
  files(ref: string): Promise<BuildDetails['files']>;
  /** Throws `not-found`. */
  remove(ref: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens the history that the command line means. */
export async function openHistory(ctx: CommandContext): Promise<BuildHistory> {
  const remote = await ctx.remote();
  return remote === undefined
    ? historyHere((await ctx.engine()).store.root, ctx.signal)
    : historyAt(remote.endpoint, ctx.signal);
}

function historyAt(endpoint: Endpoint, signal: AbortSignal): BuildHistory {
  const transport = grpcTo(endpoint);
  const control = createClient(Control, transport);
  const call = { headers: endpoint.headers, signal };
  const told = (err: unknown): never => {
    throw failureOf(endpoint, err);
  };
  return {
    async list(filters) {
      const records: BuildHistoryRecord[] = [];
      try {
        const request = { EarlyExit: true, Filter: [...filters] };
        for await (const { record } of control.listenBuildHistory(request, call))
          if (record !== undefined) records.push(record);
      } catch (err) {
        told(err);
      }
      return records;
    },
    async *progress(ref) {
      try {
        yield* control.status({ Ref: ref }, call);
      } catch (err) {
        told(err);
      }
    },
    async files(ref) {
      const path = `/ui/api/v1/builds/${encodeURIComponent(ref)}`;
      try {
        return (await askJson<Pick<BuildDetails, 'files'>>(endpoint, { method: 'GET', path, signal })).files;
      } catch (err) {
        // A daemon without the page keeps no files either.
        if (['not-found', 'unsupported'].includes(toDrydockError(err).code)) return [];
        throw err;
      }
    },
    async remove(ref) {
      await control.updateBuildHistory({ Ref: ref, Delete: true }, call).catch(told);
    },
    close: async () => {},
  };
}

/** Everybody's builds: the root is the caller's. */
export const everybody = { owner: '', all: true };

async function historyHere(root: string, signal: AbortSignal): Promise<BuildHistory> {
  const [{ openHistory: openAt }, { recordFilter }, { Jobs }, { followed }] = await Promise.all([
    import('../../api/buildkit/history/open.ts'),
    import('../../api/buildkit/history/filter.ts'),
    import('../../api/buildkit/jobs/jobs.ts'),
    import('../../api/shared/followed.ts'),
  ]);
  const jobs = new Jobs();
  const history = openAt(root, { jobs });
  await history.settled();
  return {
    async list(filters) {
      const fits = recordFilter(filters);
      const records = history.active(everybody);
      for await (const record of history.list(everybody)) if (fits(record)) records.push(record);
      return records;
    },
    async *progress(ref) {
      const running = jobs.running(everybody, ref);
      const messages =
        running === undefined ? await history.statusOf(everybody, ref) : followed(running, signal);
      if (messages === undefined) throw fail('not-found', 'client', `no such build ${ref}`);
      yield* messages;
    },
    async files(ref) {
      return (await history.detailsOf(everybody, ref))?.files ?? [];
    },
    async remove(ref) {
      if (!history.delete(everybody, ref)) throw fail('not-found', 'client', `no such build ${ref}`);
    },
    close: () => history.close(),
  };
}
