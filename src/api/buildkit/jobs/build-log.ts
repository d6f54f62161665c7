/** The progress of one build: kept for followers that come late, and passed on to all who follow it. */
import { toBinary } from '@bufbuild/protobuf';
import { frame } from '../../../grpc/index.ts';
import { type StatusResponse, StatusResponseSchema } from '../../../pb/moby/buildkit/v1/status_pb.js';
import type {
  LogEvent,
  ProgressSink,
  StatusEvent,
  VertexEvent,
  WarningEvent,
} from '../../../progress/index.ts';
import { logSize, StatusCollector } from '../../shared/status.ts';

/** The most events that followers who come late or were slow get together; more go in later turns. */
const mostTogether = 500;
/** The most bytes of logs that are kept of a build. Beyond them only the followers of the moment see the output. */
const maxKept = 4 << 20;
/** Events within this time travel together, in ms; a build with many followers adds a ms for each. */
const batchMs = 30;
/** A waiting batch with this many bytes of logs goes at once. */
const batchBytes = 1 << 20;

/** A follower of a build. */
export interface Follower {
  /** Takes StatusResponses in gRPC's framing. False: it takes no more until it calls `ready`. */
  write(frames: Uint8Array): boolean;
  /** The build is over, and everything was written. */
  end(): void;
}

interface Following {
  /** To be called when the follower takes more, after `write` returned false. */
  ready(): void;
  /** To be called when the follower wants nothing more. */
  stop(): void;
}

/**
 * The log of a build. Messages are made once for all followers that take them as they come. The events for a slow
 * follower are collected until it is ready again.
 */
export class BuildLog implements ProgressSink {
  readonly #vertices = new Map<string, VertexEvent>();
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #logs: LogEvent[] = [];
  readonly #warnings: WarningEvent[] = [];
  /** The followers that have everything but the events in `#batch`. */
  readonly #ready = new Set<Follower>();
  readonly #slow = new Map<Follower, StatusCollector>();
  readonly #batch = new StatusCollector();
  #timer: NodeJS.Timeout | undefined;
  #logBytes = 0;
  #ended = false;

  vertex(event: VertexEvent): void {
    this.#vertices.set(event.digest, event);
    this.#tell((sink) => sink.vertex(event));
  }

  status(event: StatusEvent): void {
    this.#statuses.set(`${event.vertex} ${event.id}`, event);
    this.#tell((sink) => sink.status(event));
  }

  log(event: LogEvent): void {
    const size = logSize(event);
    if (this.#logBytes + size <= maxKept) {
      this.#logBytes += size;
      this.#logs.push(event);
    }
    if (this.#batch.logBytes + size > batchBytes) this.#flush();
    this.#tell((sink) => sink.log(event));
  }

  warning(event: WarningEvent): void {
    this.#warnings.push(event);
    this.#tell((sink) => sink.warning(event));
  }

  /** Ends the log: the followers get the rest and their end. */
  end(): void {
    this.#ended = true;
    this.#flush();
    for (const follower of this.#ready) follower.end();
    this.#ready.clear();
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

  /** The last state of every vertex. */
  vertices(): VertexEvent[] {
    return [...this.#vertices.values()];
  }

  /** Everything that is kept, as messages. */
  *messages(): Generator<StatusResponse> {
    const collector = new StatusCollector();
    this.#replay(collector);
    while (!collector.isEmpty) yield* collector.take(mostTogether);
  }

  /** Sends a follower the past events, and the coming ones until the build is over. */
  follow(follower: Follower): Following {
    // What waits for the others is part of what this one gets first.
    this.#flush();
    const past = new StatusCollector();
    this.#replay(past);
    this.#slow.set(follower, past);
    const following = {
      ready: () => this.#catchUp(follower),
      stop: () => {
        this.#ready.delete(follower);
        this.#slow.delete(follower);
      },
    };
    following.ready();
    return following;
  }

  #tell(say: (sink: ProgressSink) => void): void {
    for (const waiting of this.#slow.values()) say(waiting);
    if (this.#ready.size === 0) return;
    say(this.#batch);
    this.#timer ??= setTimeout(() => this.#flush(), batchMs + this.#ready.size);
  }

  /** Sends the batch to all followers that are ready. */
  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#batch.isEmpty) return;
    const frames = framesOf(this.#batch.take());
    for (const follower of this.#ready) {
      if (follower.write(frames)) continue;
      this.#ready.delete(follower);
      this.#slow.set(follower, new StatusCollector());
    }
  }

  #catchUp(follower: Follower): void {
    const waiting = this.#slow.get(follower);
    if (waiting === undefined) return;
    this.#flush();
    const accepts = waiting.isEmpty || follower.write(framesOf(waiting.take(mostTogether)));
    if (!waiting.isEmpty) {
      if (accepts) setImmediate(() => this.#catchUp(follower));
      return;
    }
    if (!accepts) return;
    this.#slow.delete(follower);
    if (this.#ended) follower.end();
    else this.#ready.add(follower);
  }

  #replay(sink: ProgressSink): void {
    for (const event of this.#vertices.values()) sink.vertex(event);
    for (const event of this.#statuses.values()) sink.status(event);
    for (const event of this.#warnings) sink.warning(event);
    for (const event of this.#logs) sink.log(event);
  }
}

/** Messages in gRPC's framing. */
export function framesOf(messages: readonly StatusResponse[]): Buffer {
  return Buffer.concat(messages.map((message) => frame(toBinary(StatusResponseSchema, message))));
}
