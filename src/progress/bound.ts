import type { Digest } from '../oci/index.ts';
import type { ProgressSink, VertexProgress } from './events.ts';

/** What is told of a vertex that was given up, in place of an error's message. */
export const canceledText = 'CANCELED';

/** Now, in ms since the epoch with a fraction. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** A transfer is told of at most this often, ms: it moves with every packet, and each is told to all who follow. */
const quietMs = 50;

/** Progress of one vertex into one sink. */
export function boundProgress(digest: Digest, sink: ProgressSink): VertexProgress {
  const starts = new Map<string, number>();
  const told = new Map<string, number>();
  return {
    digest,
    report(id, { current, total, done }) {
      const timestamp = now();
      const isLast = done === true || (total > 0 && current >= total);
      if (!isLast && timestamp - (told.get(id) ?? 0) < quietMs) return;
      told.set(id, timestamp);
      const started = starts.get(id) ?? timestamp;
      starts.set(id, started);
      const completed = done ? timestamp : undefined;
      sink.status({ id, vertex: digest, name: id, current, total, timestamp, started, completed });
    },
    log(stream, data) {
      const bytes = typeof data === 'string' ? Buffer.from(data) : data;
      sink.log({ vertex: digest, stream, data: bytes, timestamp: now() });
    },
    warn(warning) {
      sink.warning({ ...warning, vertex: digest });
    },
  };
}
