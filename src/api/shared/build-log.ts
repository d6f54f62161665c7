/** The progress of one build: kept for followers that come late, and passed on to all who follow it. */
import { tmpdir } from 'node:os';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { SourceLocation } from '../../errors/index.ts';
import { Deframer, frame } from '../../grpc/index.ts';
import type { Digest } from '../../oci/index.ts';
import { type StatusResponse, StatusResponseSchema } from '../../pb/moby/buildkit/v1/status_pb.js';
import type {
  LogEvent,
  ProgressSink,
  SourcesEvent,
  StatusEvent,
  StepUsage,
  UsageEvent,
  VertexEvent,
  WarningEvent,
} from '../../progress/index.ts';
import type { StepFacts } from '../../records/index.ts';
import { Spool, type SpoolOptions } from './spool.ts';
import { logMessages, logSize, StatusCollector } from './status.ts';

/** The most events that followers who come late or were slow get together; more go in later turns. */
const mostTogether = 500;
/** Events within this time travel together, in ms; a build with many followers adds a ms for each. */
const batchMs = 30;
/** A waiting batch with this many bytes of logs goes at once. */
const batchBytes = 1 << 20;

/** The most steps of which the use of the machine and the place in the Dockerfile are kept. */
const mostSteps = 10_000;

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

/** A follower that does not have everything yet. */
interface Behind {
  /** What it has not been told of vertices, transfers and warnings. */
  states: StatusCollector;
  /** The place in the spool up to which it has the output. */
  at: number;
}

const leftOut =
  '\n[output left out: the build has written more than is kept for clients that are slow or come late]\n';

/**
 * The log of a build. Messages are made once for all followers that take them as they come. A slow follower's events are
 * collected until it is ready again; output is read from where all of it is kept, once for all.
 */
export class BuildLog implements ProgressSink {
  readonly #vertices = new Map<string, VertexEvent>();
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #warnings: WarningEvent[] = [];
  readonly #places = new Map<Digest, SourceLocation>();
  readonly #usage = new Map<Digest, StepUsage>();
  /** The counts, until a vertex changes: many pages ask for them. */
  #counts: Omit<BuildLog['counts'], 'warnings'> | undefined;
  readonly #spool: Spool;
  /** The followers that have everything but the events in `#batch` and `#logs`. */
  readonly #ready = new Set<Follower>();
  readonly #slow = new Map<Follower, Behind>();
  readonly #batch = new StatusCollector();
  #logs: LogEvent[] = [];
  #logBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Whether there was more output than is kept. */
  #full = false;
  #ended = false;
  #readers = 0;

  /** Without a folder for much output, the system's for temporary files is taken. */
  constructor(options: Partial<SpoolOptions> = {}) {
    this.#spool = new Spool({ folder: tmpdir(), ...options });
  }

  vertex(event: VertexEvent): void {
    this.#vertices.set(event.digest, event);
    this.#counts = undefined;
    this.#tell((sink) => sink.vertex(event));
  }

  status(event: StatusEvent): void {
    this.#statuses.set(`${event.vertex} ${event.id}`, event);
    this.#tell((sink) => sink.status(event));
  }

  log(event: LogEvent): void {
    const size = logSize(event);
    if (this.#logBytes + size > batchBytes) this.#flush();
    this.#logBytes += size;
    this.#logs.push(event);
    this.#later();
  }

  warning(event: WarningEvent): void {
    this.#warnings.push(event);
    this.#tell((sink) => sink.warning(event));
  }

  usage({ vertex, usage }: UsageEvent): void {
    if (this.#usage.size < mostSteps) this.#usage.set(vertex, usage);
  }

  sources({ places }: SourcesEvent): void {
    for (const [vertex, place] of places) {
      if (this.#places.size >= mostSteps) return;
      this.#places.set(vertex, place);
    }
  }

  get details(): StepFacts {
    return { places: this.#places, usage: this.#usage };
  }

  /** Ends the log: the followers get the rest and their end. */
  end(): void {
    this.#ended = true;
    this.#flush();
    for (const follower of this.#ready) follower.end();
    this.#ready.clear();
    this.#closeUnread();
  }

  /** Keeps all output readable by `messages`, also after the end, until the returned function is called. */
  keep(): () => void {
    this.#readers++;
    return () => {
      this.#readers--;
      this.#closeUnread();
    };
  }

  get counts(): { total: number; cached: number; completed: number; warnings: number } {
    this.#counts ??= countsOf(this.#vertices.values());
    return { ...this.#counts, warnings: this.#warnings.length };
  }

  /** The last state of every vertex. */
  vertices(): VertexEvent[] {
    return [...this.#vertices.values()];
  }

  /** Everything that is kept, as messages: first the last states, then the output in its order. */
  *messages(): Generator<StatusResponse> {
    this.#flush();
    const { states } = this.#fromTheStart();
    while (!states.isEmpty) yield* states.take(mostTogether);
    for (let at = 0; at < this.#spool.size; ) {
      const frames = this.#spool.read(at);
      at += frames.length;
      for (const message of new Deframer().push(frames)) yield fromBinary(StatusResponseSchema, message);
    }
  }

  /** Sends a follower the past events, and the coming ones until the build is over. */
  follow(follower: Follower): Following {
    // What waits for the others is part of what this one gets first.
    this.#flush();
    this.#slow.set(follower, this.#fromTheStart());
    const following = {
      ready: () => this.#catchUp(follower),
      stop: () => {
        this.#ready.delete(follower);
        this.#slow.delete(follower);
        this.#closeUnread();
      },
    };
    following.ready();
    return following;
  }

  #fromTheStart(): Behind {
    const states = new StatusCollector();
    for (const event of this.#vertices.values()) states.vertex(event);
    for (const event of this.#statuses.values()) states.status(event);
    for (const event of this.#warnings) states.warning(event);
    return { states, at: 0 };
  }

  #tell(say: (sink: StatusCollector) => void): void {
    for (const { states } of this.#slow.values()) say(states);
    if (this.#ready.size === 0) return;
    say(this.#batch);
    this.#later();
  }

  /** Nobody waits for a batch when no follower has come. */
  #later(): void {
    if (this.#ready.size === 0) return;
    this.#timer ??= setTimeout(() => this.#flush(), batchMs + this.#ready.size);
  }

  /** Keeps the output of the batch, and sends the batch to all followers that are ready. */
  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const logs = this.#takeLogs();
    if (this.#batch.isEmpty && logs === undefined) return;
    const states = this.#batch.take();
    if (this.#ready.size === 0) return;
    const frames = Buffer.concat([framesOf(states), logs ?? Buffer.alloc(0)]);
    for (const follower of this.#ready) {
      if (follower.write(frames)) continue;
      this.#ready.delete(follower);
      this.#slow.set(follower, { states: new StatusCollector(), at: this.#spool.size });
    }
  }

  /** The frames of the output that waits; they are kept now. Undefined when there is none. */
  #takeLogs(): Buffer | undefined {
    const logs = this.#logs;
    const [first] = logs;
    if (first === undefined) return undefined;
    this.#logs = [];
    this.#logBytes = 0;
    const frames = framesOf(logMessages(logs));
    if (this.#spool.append(frames) || this.#full) return frames;
    this.#full = true;
    const said: LogEvent = { ...first, stream: 2, data: Buffer.from(leftOut) };
    this.#spool.appendLast(framesOf(logMessages([said])));
    return frames;
  }

  #catchUp(follower: Follower): void {
    const behind = this.#slow.get(follower);
    if (behind === undefined) return;
    this.#flush();
    const { states } = behind;
    const parts = [framesOf(states.take(mostTogether))];
    if (states.isEmpty) {
      const output = this.#spool.read(behind.at);
      behind.at += output.length;
      parts.push(output);
    }
    const frames = Buffer.concat(parts);
    const accepts = frames.length === 0 || follower.write(frames);
    if (!states.isEmpty || behind.at < this.#spool.size) {
      if (accepts) setImmediate(() => this.#catchUp(follower));
      return;
    }
    if (!accepts) return;
    this.#slow.delete(follower);
    if (!this.#ended) this.#ready.add(follower);
    else {
      follower.end();
      this.#closeUnread();
    }
  }

  /** Gives up the kept output when the build is over and nobody reads it. */
  #closeUnread(): void {
    if (this.#ended && this.#slow.size === 0 && this.#readers === 0) this.#spool.close();
  }
}

function countsOf(vertices: Iterable<VertexEvent>): { total: number; cached: number; completed: number } {
  const counts = { total: 0, cached: 0, completed: 0 };
  for (const { cached, completed } of vertices) {
    counts.total++;
    if (cached) counts.cached++;
    if (completed !== undefined) counts.completed++;
  }
  return counts;
}

/** Messages in gRPC's framing. */
export function framesOf(messages: readonly StatusResponse[]): Buffer {
  return Buffer.concat(messages.map((message) => frame(toBinary(StatusResponseSchema, message))));
}
