import type { Digest } from '../oci/index.ts';
import type { ProgressSink, VertexProgress } from './events.ts';
import { now } from './now.ts';

/**
 * The shortest time between two reports of a transfer, ms: it advances with every packet, and every listener gets each
 * report.
 */
const quietMs = 50;

/** Binds the progress of one vertex to a sink. */
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
    reached(network) {
      sink.network?.({ vertex: digest, network });
    },
    used(usage) {
      sink.usage?.({ vertex: digest, usage });
    },
  };
}
