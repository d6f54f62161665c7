/** Control's Status: the progress of a running build, or of one that ended. */
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { type Reach, reachOf } from '../../../auth/index.ts';
import { fail } from '../../../errors/index.ts';
import { drained } from '../../../flow/index.ts';
import { beginAnswer, decodeShort, endAnswer, requestOf } from '../../../grpc/index.ts';
import { StatusRequestSchema } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { isDue, nextTurn } from '../../../workers/index.ts';
import { type BuildLog, type Follower, framesOf } from '../../shared/build-log.ts';
import type { History } from '../history/history.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { RawMethod } from '../raw.ts';

/** The most bytes on their way to a client before it counts as slow. */
const maxAhead = 1 << 20;

/**
 * Makes the method. Messages go out as the build's log has made them: a hundred followers of a build cost little more
 * than one. Throws `not-found` for a build that is not known or out of the caller's reach, and `invalid` for bytes that
 * are no request.
 */
export function statusMethod({ jobs, history }: { jobs: Jobs; history: History }): RawMethod {
  return async (request, response, caller) => {
    const reach = reachOf(caller);
    const stream = request.stream as ServerHttp2Stream;
    const gone = new AbortController();
    stream.once('close', () => gone.abort());
    const { Ref } = decodeShort(StatusRequestSchema, await requestOf({ stream }));
    const { log, past } = await progressOf({ jobs, history }, reach, Ref, gone.signal);
    if (log === undefined && past === undefined) throw fail('not-found', 'client', `no such job ${Ref}`);
    if (gone.signal.aborted) return;
    beginAnswer(response);
    if (log !== undefined) {
      const following = log.follow(followerOn(stream, response, () => following.ready()));
      stream.once('close', () => following.stop());
      return;
    }
    for await (const message of past ?? []) {
      if (isDue()) await nextTurn();
      if (stream.destroyed) return;
      if (!stream.write(framesOf([message]))) await drained(stream);
    }
    endAnswer(response);
  };
}

/**
 * The log of a running build or the progress of a past one; neither when the build does not come within the wait of
 * `Jobs.find`. The build may begin and end while the records of others are being written, so the wait for it begins
 * before the history is read.
 */
export async function progressOf(
  { jobs, history }: { jobs: Jobs; history: Pick<History, 'settled' | 'statusOf'> },
  reach: Reach,
  ref: string,
  gone: AbortSignal,
): Promise<{ log?: BuildLog; past?: AsyncIterable<StatusResponse> }> {
  const running = jobs.running(reach, ref);
  if (running !== undefined) return { log: running };
  const recorded = new AbortController();
  const coming = jobs.find(reach, ref, AbortSignal.any([gone, recorded.signal]));
  try {
    await history.settled();
    const past = await history.statusOf(reach, ref);
    return past === undefined ? { log: await coming } : { past };
  } finally {
    recorded.abort();
  }
}

function followerOn(stream: ServerHttp2Stream, response: Http2ServerResponse, ready: () => void): Follower {
  stream.on('drain', ready);
  return {
    write(frames) {
      stream.write(frames);
      return stream.writableLength < maxAhead;
    },
    end: () => endAnswer(response),
  };
}
