/** Control's Status: the progress of a running build, or of one that ended. */
import type { Http2ServerResponse, ServerHttp2Stream } from 'node:http2';
import { reachOf } from '../../../auth/index.ts';
import { fail } from '../../../errors/index.ts';
import { beginAnswer, decodeShort, endAnswer, requestOf } from '../../../grpc/index.ts';
import { StatusRequestSchema } from '../../../pb/moby/buildkit/v1/control_pb.js';
import { isDue, nextTurn } from '../../../workers/index.ts';
import type { History } from '../history/history.ts';
import { type Follower, framesOf } from '../jobs/build-log.ts';
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
    const running = jobs.running(reach, Ref);
    if (running === undefined) await history.settled();
    const past = running === undefined ? await history.statusOf(reach, Ref) : undefined;
    const log = running ?? (past === undefined ? await jobs.find(reach, Ref, gone.signal) : undefined);
    if (log === undefined && past === undefined) throw fail('not-found', 'client', `no such job ${Ref}`);
    if (gone.signal.aborted) return;
    beginAnswer(response);
    if (log !== undefined) {
      const following = log.follow(followerOn(stream, response, () => following.ready()));
      stream.once('close', () => following.stop());
      return;
    }
    for (const message of past ?? []) {
      if (isDue()) await nextTurn();
      if (stream.destroyed) return;
      if (!stream.write(framesOf([message]))) await drained(stream);
    }
    endAnswer(response);
  };
}

/** Resolves when a slow client takes more, or is gone. */
function drained(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
  });
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
