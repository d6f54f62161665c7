import { randomUUID } from 'node:crypto';
import type { KeyParts } from '../cache/cache.ts';
import type { Digest } from '../oci/types.ts';
import type { Session } from '../session/types.ts';
import type { Ref } from '../store/ref.ts';
import { boundProgress, type Job, now } from './job.ts';
import type { LogEvent, ProgressSink, StatusEvent, VertexEvent, WarningEvent } from './progress.ts';
import { sessionGroup } from './session-group.ts';
import type { CacheMap, Op, OpContext, Vertex } from './types.ts';

/** What a vertex is to the cache, found without running it where possible. */
export interface Identity {
  /** Record id: what users of this vertex are keyed by. */
  id: Digest;
  /** Nothing can be cached on top of this id: it was never seen before. */
  fresh: boolean;
  /** Named only within this build; its users are keyed by its content. */
  volatile: boolean;
  /** The record has a result (as of the look-up). */
  hit: boolean;
  /** Keys to store with the result. */
  keys: { key: Digest; parts: KeyParts }[];
}

/** Log bytes kept for a build that joins a running vertex. */
const replayLimit = 256 * 1024;

/**
 * A vertex at work: shared by all builds that hold it. It is cancelled when the last of them lets go.
 */
export class VertexState {
  readonly vertex: Vertex;
  readonly inputs: readonly { state: VertexState; index: number }[];
  readonly op: Op;
  readonly jobs = new Set<Job>();
  readonly lease = `vertex-${randomUUID()}`;
  identity: Promise<Identity> | undefined;
  result: Promise<readonly Ref[]> | undefined;
  leased = false;
  readonly #controller = new AbortController();
  #event: VertexEvent;
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #replay: LogEvent[] = [];
  #replayBytes = 0;
  #cacheMap: Promise<CacheMap> | undefined;
  readonly context: OpContext;

  constructor(vertex: Vertex, inputs: VertexState['inputs'], makeOp: (vertex: Vertex) => Op) {
    this.vertex = vertex;
    this.inputs = inputs;
    const group = vertex.metadata?.progressGroup;
    this.#event = {
      digest: vertex.digest,
      inputs: vertex.inputs.map((input) => input.vertex.digest),
      name: vertex.name,
      ...(group === undefined ? {} : { progressGroup: { id: group.id, name: group.name, weak: group.weak } }),
    };
    const progress = boundProgress(vertex.digest, this.#fanOut());
    const session: Session = sessionGroup(() => [...this.jobs].map((job) => job.session));
    this.context = { vertex, session, progress, signal: this.#controller.signal, lease: this.lease };
    this.op = makeOp(vertex);
  }

  /** Adds a build and tells it what has happened so far. */
  join(job: Job): void {
    if (this.jobs.has(job)) return;
    this.jobs.add(job);
    job.states.add(this);
    job.sink.vertex(this.#event);
    for (const status of this.#statuses.values()) job.sink.status(status);
    for (const log of this.#replay) job.sink.log(log);
  }

  /** Takes a build away; returns true when none is left (and the work was told to stop). */
  leave(job: Job): boolean {
    job.states.delete(this);
    if (!this.jobs.delete(job) || this.jobs.size > 0) return false;
    this.#controller.abort(job.signal.reason);
    return true;
  }

  /** The op's cache map, made once. A source's is real work (a tag is resolved) and shows as such. */
  cacheMap(): Promise<CacheMap> {
    this.#cacheMap ??= this.op.cacheMap(this.context);
    return this.#cacheMap;
  }

  /** Updates what builds see of this vertex. */
  mark(change: 'started' | 'completed' | 'cached' | { error: string }): void {
    const at = now();
    const event = this.#event;
    if (change === 'started') {
      this.#event = { ...event, started: at, completed: undefined, cached: undefined, error: undefined };
    } else if (change === 'cached') {
      this.#event = { ...event, started: at, completed: at, cached: true };
    } else if (change === 'completed') {
      this.#event = { ...event, started: event.started ?? at, completed: at };
    } else {
      this.#event = { ...event, started: event.started ?? at, completed: at, error: change.error };
    }
    for (const job of this.jobs) job.sink.vertex(this.#event);
  }

  /** Marks as completed a vertex whose work goes on after its result is there: a client's folder is read by its users. */
  settle(): void {
    if (this.isStarted) this.mark('completed');
  }

  get isStarted(): boolean {
    return this.#event.started !== undefined && this.#event.completed === undefined;
  }

  #fanOut(): ProgressSink {
    return {
      vertex: () => {},
      status: (event) => {
        this.#statuses.set(event.id, event);
        for (const job of this.jobs) job.sink.status(event);
      },
      log: (event) => {
        this.#replay.push(event);
        this.#replayBytes += event.data.length;
        while (this.#replayBytes > replayLimit) this.#replayBytes -= this.#replay.shift()?.data.length ?? 0;
        for (const job of this.jobs) job.sink.log(event);
      },
      warning: (event: WarningEvent) => {
        for (const job of this.jobs) job.sink.warning(event);
      },
    };
  }
}
