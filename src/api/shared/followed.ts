/** The progress of a running build as messages, one after the other. */
import { fromBinary } from '@bufbuild/protobuf';
import { Deframer } from '../../grpc/index.ts';
import { type StatusResponse, StatusResponseSchema } from '../../pb/moby/buildkit/v1/status_pb.js';
import type { BuildLog } from './build-log.ts';

/** Gives what a log has and what comes, until the build is over or the signal fires. */
export async function* followed(log: BuildLog, signal: AbortSignal): AsyncGenerator<StatusResponse> {
  const deframer = new Deframer();
  let come: StatusResponse[] = [];
  let ended = signal.aborted;
  let wake = () => {};
  const end = () => {
    ended = true;
    wake();
  };
  const following = log.follow({
    write(frames) {
      for (const message of deframer.push(frames)) come.push(fromBinary(StatusResponseSchema, message));
      wake();
      return true;
    },
    end,
  });
  signal.addEventListener('abort', end, { once: true });
  try {
    for (;;) {
      const messages = come;
      come = [];
      yield* messages;
      if (come.length > 0) continue;
      if (ended) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    signal.removeEventListener('abort', end);
    following.stop();
  }
}
