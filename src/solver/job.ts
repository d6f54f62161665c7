import { randomUUID } from 'node:crypto';
import { toDrydockError } from '../errors/error.ts';
import { digestOf } from '../oci/digest.ts';
import type { Digest } from '../oci/types.ts';
import type { Session } from '../session/types.ts';
import type { ProgressSink, VertexProgress } from './progress.ts';
import type { VertexState } from './state.ts';

/** Now, in ms since the epoch with a fraction. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** One build: whose session it uses, who watches it, and the vertices it holds. */
export class Job {
  readonly id = randomUUID();
  readonly session: Session;
  readonly sink: ProgressSink;
  readonly #controller = new AbortController();
  /** Vertices this build holds; the solver keeps this. */
  readonly states = new Set<VertexState>();

  constructor(session: Session, sink: ProgressSink, signal: AbortSignal) {
    this.session = session;
    this.sink = sink;
    if (signal.aborted) this.#controller.abort(signal.reason);
    else {
      signal.addEventListener('abort', () => this.#controller.abort(signal.reason), {
        once: true,
        signal: this.#controller.signal,
      });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Stops the build's work. */
  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /**
   * Runs work that is no LLB op (loading the Dockerfile, exporting) and shows it as a vertex of its own. With
   * `lazy` nothing is shown until the work reports something.
   */
  async inVertex<T>(name: string, work: (progress: VertexProgress) => Promise<T>): Promise<T> {
    const digest = digestOf(`${this.id} ${name} ${randomUUID()}`);
    const started = now();
    const { sink } = this;
    sink.vertex({ digest, inputs: [], name, started });
    try {
      const result = await work(boundProgress(digest, sink));
      sink.vertex({ digest, inputs: [], name, started, completed: now() });
      return result;
    } catch (err) {
      const error = toDrydockError(err);
      error.step ??= name;
      sink.vertex({ digest, inputs: [], name, started, completed: now(), error: error.message });
      throw error;
    }
  }
}

/** Progress of one vertex into one sink. */
export function boundProgress(digest: Digest, sink: ProgressSink): VertexProgress {
  const starts = new Map<string, number>();
  return {
    digest,
    report(id, { current, total, done }) {
      const timestamp = now();
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
