/** One build's progress: kept for those who come late, and passed on to all who watch. */
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';
import type {
  LogEvent,
  ProgressSink,
  StatusEvent,
  VertexEvent,
  WarningEvent,
} from '../../../solver/progress.ts';
import { StatusCollector } from '../../shared/status.ts';

/** Log bytes kept of a build; beyond them only those who watch see what is printed. */
const maxKept = 4 << 20;
/** Events that come within this time travel together, ms. */
const batchMs = 30;

export class BuildLog implements ProgressSink {
  readonly #vertices = new Map<string, VertexEvent>();
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #logs: LogEvent[] = [];
  readonly #warnings: WarningEvent[] = [];
  readonly #watchers = new Set<Watcher>();
  #logBytes = 0;
  #ended = false;

  vertex(event: VertexEvent): void {
    this.#vertices.set(event.digest, event);
    for (const { collector } of this.#watchers) collector.vertex(event);
  }

  status(event: StatusEvent): void {
    this.#statuses.set(`${event.vertex} ${event.id}`, event);
    for (const { collector } of this.#watchers) collector.status(event);
  }

  log(event: LogEvent): void {
    if (this.#logBytes + event.data.length <= maxKept) {
      this.#logBytes += event.data.length;
      this.#logs.push(event);
    }
    for (const { collector } of this.#watchers) collector.log(event);
  }

  warning(event: WarningEvent): void {
    this.#warnings.push(event);
    for (const { collector } of this.#watchers) collector.warning(event);
  }

  /** Nothing more comes: those who watch get the rest and their end. */
  end(): void {
    this.#ended = true;
    for (const watcher of this.#watchers) watcher.wake();
  }

  get counts(): { total: number; cached: number; completed: number; warnings: number } {
    const all = [...this.#vertices.values()];
    return {
      total: all.length,
      cached: all.filter(({ cached }) => cached).length,
      completed: all.filter(({ completed }) => completed !== undefined).length,
      warnings: this.#warnings.length,
    };
  }

  /** Every vertex as it was last. */
  vertices(): VertexEvent[] {
    return [...this.#vertices.values()];
  }

  /** All that is kept, as messages. */
  messages(): StatusResponse[] {
    const collector = new StatusCollector();
    this.#replay(collector);
    return collector.take();
  }

  /** What was, and what comes until the build is over. */
  async *watch(signal: AbortSignal): AsyncGenerator<StatusResponse, void, undefined> {
    const watcher = new Watcher();
    this.#replay(watcher.collector);
    this.#watchers.add(watcher);
    const wake = () => watcher.wake();
    signal.addEventListener('abort', wake, { once: true });
    try {
      while (!signal.aborted) {
        const ended = this.#ended;
        yield* watcher.collector.take();
        if (ended) return;
        await watcher.next(() => this.#ended || signal.aborted);
      }
    } finally {
      signal.removeEventListener('abort', wake);
      this.#watchers.delete(watcher);
    }
  }

  #replay(sink: ProgressSink): void {
    for (const event of this.#vertices.values()) sink.vertex(event);
    for (const event of this.#statuses.values()) sink.status(event);
    for (const event of this.#warnings) sink.warning(event);
    for (const event of this.#logs) sink.log(event);
  }
}

class Watcher {
  #resolve: (() => void) | undefined;
  readonly collector = new StatusCollector(() => {
    if (this.#resolve !== undefined) this.#timer ??= setTimeout(() => this.wake(), batchMs);
  });
  #timer: NodeJS.Timeout | undefined;

  wake(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#resolve?.();
    this.#resolve = undefined;
  }

  /** Resolves when something has come, or when `over` holds and somebody wakes it. */
  async next(over: () => boolean): Promise<void> {
    if (!this.collector.isEmpty || over()) return;
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
    });
  }
}
