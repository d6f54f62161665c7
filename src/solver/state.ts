import { randomUUID } from 'node:crypto';
import type { KeyParts } from '../cache/cache.ts';
import { canceled, type DrydockError } from '../errors/error.ts';
import type { ContentSelector } from '../fs/view.ts';
import type { Graph } from '../llb/graph.ts';
import type { Digest } from '../oci/types.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import { boundProgress, now } from '../progress/bound.ts';
import type { LogEvent, ProgressSink, StatusEvent, VertexEvent, WarningEvent } from '../progress/events.ts';
import type { Session } from '../session/types.ts';
import type { Ref } from '../store/ref.ts';
import type { ForeignCache, ForeignRecord } from './foreign-cache.ts';
import type { Hold } from './hold.ts';
import type { Job } from './job.ts';
import type { Pins } from './pins.ts';
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
  /** Keys to store with the result. */
  keys: { key: Digest; parts: KeyParts }[];
  /** Contents of volatile inputs that the id rests on, to be checked again once the op has read them. */
  claims: { input: number; selectors: readonly ContentSelector[]; digest: Digest }[];
  /** By output: what it may be in caches from elsewhere. */
  foreign?: readonly (readonly ForeignRecord[])[];
}

/** What builds are told of a vertex, apart from what each of them calls it. */
type Phase = Pick<VertexEvent, 'started' | 'completed' | 'cached' | 'error'>;

/** Log bytes kept for a build that joins a running vertex. */
const replayLimit = 256 * 1024;

/** What a build's client is told of a vertex it gave up. */
export const canceledText = 'CANCELED';

/**
 * A vertex at work, shared by all solves that hold it and by equal vertices that follow it. It is to be cancelled
 * when neither is left (see `isHeld`).
 */
export class VertexState {
  /** Where the solver finds it again: the vertex's digest, or one that tells it from the vertex in other sessions. */
  readonly key: string;
  readonly vertex: Vertex;
  readonly inputs: readonly { state: VertexState; index: number }[];
  readonly op: Op;
  readonly context: OpContext;
  /** Name of its lease; `ResultStore.lease` makes it when first needed. */
  readonly lease = `vertex-${randomUUID()}`;
  leased: Promise<void> | undefined;
  /** Settles when the cache record of its result keeps that by itself. */
  recorded: Promise<unknown> | undefined;
  identity: Promise<Identity> | undefined;
  result: Promise<readonly Ref[]> | undefined;
  /** Set once nobody holds it: settles when its work has stopped and its lease is gone. */
  retired: Promise<void> | undefined;
  /** Made from something that changed meanwhile: not what its identity says, so nothing made of it is recorded. */
  tainted = false;
  /** Content digests of its outputs found so far, by output and selectors. */
  readonly digests = new Map<string, Promise<Digest>>();
  /** Content digests being found, the bytes they have covered, and whether that is shown. */
  readonly reading: { now: number; bytes: number; shown: boolean | undefined } = {
    now: 0,
    bytes: 0,
    shown: undefined,
  };
  /** Vertices of equal identity that wait for this one's result. */
  readonly followers = new Set<VertexState>();
  /** The same vertex of a build that has found it in a foreign cache, until this one is named. */
  handedOnBy: VertexState | undefined;
  /** Set when it has none of its own to give: it looks for another build's. */
  borrows = false;
  /** Ops at work on its result. */
  readers = 0;
  /** Outputs that somebody has asked for. */
  readonly wanted = new Set<number>();
  /** Its work, done after all although a cache from elsewhere had said that it need not be. */
  anew: Promise<readonly Ref[]> | undefined;
  /** The build of graphs nested in this vertex, if its op has any. */
  nested: Job | undefined;
  readonly #jobs = new Map<Job, { vertex: Vertex; holds: Set<Hold> }>();
  readonly #controller = new AbortController();
  readonly #sink: ProgressSink;
  readonly #cleanups: (() => void | Promise<void>)[] = [];
  #canceled: PromiseWithResolvers<never> | undefined;
  #phase: Phase = {};
  #cacheMap: Promise<CacheMap> | undefined;
  /** What of sources was found out for it. */
  readonly #pinned = new Map<string, Promise<unknown>>();
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #warnings: WarningEvent[] = [];
  readonly #replay: LogEvent[] = [];
  #replayBytes = 0;

  /** `tenant`: of all builds that will hold it. */
  constructor(
    key: string,
    vertex: Vertex,
    inputs: VertexState['inputs'],
    makeOp: (vertex: Vertex) => Op,
    tenant: Session['tenant'],
  ) {
    this.key = key;
    this.vertex = vertex;
    this.inputs = inputs;
    this.#sink = this.#fanOut();
    const progress = boundProgress(vertex.digest, this.#sink);
    const session = sessionGroup(() => [...this.#allJobs()].map((job) => job.session), {
      tenant,
      signal: this.signal,
    });
    this.context = {
      vertex,
      session,
      progress,
      signal: this.#controller.signal,
      lease: this.lease,
      onRelease: (cleanup) => this.#cleanups.push(cleanup),
      pins: { pin: (key, find) => this.#pin(key, find), get: (key) => this.#firstJob()?.pins.get(key) },
    };
    this.op = makeOp(vertex);
  }

  /** What its first build knows, or finds now, for all of them. */
  #pin<T>(key: string, find: () => Promise<T>): Promise<T> {
    const first = this.#firstJob();
    const found = first === undefined ? find() : first.pins.pin(key, find);
    this.#pinned.set(key, found);
    for (const job of this.#allJobs()) job.pins.adopt(key, found);
    found.catch(() => this.#pinned.delete(key));
    return found;
  }

  #firstJob(): Job | undefined {
    for (const job of this.#allJobs()) return job;
    return undefined;
  }

  /** What the builds that hold it know of sources; a graph nested in it knows the same. */
  get pins(): Pins | undefined {
    return this.#firstJob()?.pins;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What the builds that hold it are granted: for an op with a graph of its own all of them are granted the same. */
  get allow(): readonly string[] {
    return this.#firstJob()?.allow ?? [];
  }

  /** The vertices in whose ops the builds that hold it are nested. */
  get within(): readonly VertexState[] {
    return [...new Set([...this.#allJobs()].flatMap((job) => job.within))];
  }

  /** Whether a build, a follower or a running op still wants it. */
  get isHeld(): boolean {
    return this.#jobs.size > 0 || this.followers.size > 0 || this.readers > 0;
  }

  /** Reads a definition that the op brings along, under the rules of a build that wants its result. */
  load(definition: Definition): Graph | Promise<Graph> {
    const job = this.#firstJob();
    if (job === undefined) throw canceled(this.signal.reason);
    return job.load(definition);
  }

  /** Adds a solve; a build new to this vertex is told what has happened so far. `vertex` is as that build calls it. */
  join(hold: Hold, vertex: Vertex): void {
    hold.states.add(this);
    const known = this.#jobs.get(hold.job);
    if (known !== undefined) {
      known.holds.add(hold);
      return;
    }
    this.#jobs.set(hold.job, { vertex, holds: new Set([hold]) });
    for (const [key, found] of this.#pinned) hold.job.pins.adopt(key, found);
    const { sink } = hold.job;
    sink.vertex({ ...describe(vertex), ...this.#phase });
    for (const status of this.#statuses.values()) sink.status(status);
    for (const log of this.#replay) sink.log(log);
    for (const warning of this.#warnings) sink.warning(warning);
  }

  /** Takes a solve away. A build that leaves work unfinished is told that it was given up. */
  leave(hold: Hold): void {
    hold.states.delete(this);
    const entry = this.#jobs.get(hold.job);
    if (entry === undefined || !entry.holds.delete(hold) || entry.holds.size > 0) return;
    this.#jobs.delete(hold.job);
    if (!this.isStarted) return;
    hold.job.sink.vertex({
      ...describe(entry.vertex),
      ...this.#phase,
      completed: now(),
      error: canceledText,
    });
  }

  /** Tells the work to stop. */
  cancel(reason: unknown): void {
    this.#controller.abort(reason);
    this.#canceled?.reject(canceled(reason));
  }

  /** What a promise of another vertex's work gives, or `canceled` as soon as this vertex is given up. */
  orCanceled<T>(work: Promise<T>): Promise<T> {
    if (this.#canceled === undefined) {
      this.#canceled = Promise.withResolvers<never>();
      this.#canceled.promise.catch(() => {});
      if (this.signal.aborted) this.#canceled.reject(canceled(this.signal.reason));
    }
    return Promise.race([work, this.#canceled.promise]);
  }

  /** Does what the op asked to be done in the end, last asked first. */
  async cleanUp(): Promise<void> {
    for (let next = this.#cleanups.pop(); next !== undefined; next = this.#cleanups.pop()) {
      try {
        await next();
      } catch {
        // What is left is in the process's run folder, which the next start sweeps.
      }
    }
  }

  /** Tells all solves that hold it that this vertex failed. */
  fail(err: DrydockError): void {
    for (const { holds } of this.#jobs.values()) for (const hold of holds) hold.fail(err);
  }

  /** The caches from elsewhere of all builds that hold it, once they are read. */
  async imports(): Promise<readonly ForeignCache[]> {
    const reading = new Set([...this.#allJobs()].flatMap((job) => job.imports));
    if (reading.size === 0) return [];
    return [...new Set((await this.orCanceled(Promise.all(reading))).flat())];
  }

  /** The op's cache map, made once. */
  cacheMap(): Promise<CacheMap> {
    this.#cacheMap ??= this.op.cacheMap(this.context);
    return this.#cacheMap;
  }

  /** Updates what builds see of this vertex. */
  mark(change: 'started' | 'completed' | 'cached' | { error: string }): void {
    const at = now();
    const started = this.#phase.started ?? at;
    if (change === 'started') this.#phase = { started: at };
    else if (change === 'cached') this.#phase = { started, completed: at, cached: true };
    else if (change === 'completed') this.#phase = { started, completed: at };
    else this.#phase = { started, completed: at, error: change.error };
    for (const [job, { vertex }] of this.#jobs) job.sink.vertex({ ...describe(vertex), ...this.#phase });
  }

  /** Marks as completed a vertex whose work goes on after its result is there: a client's folder is read by its users. */
  settle(): void {
    if (this.isStarted) this.mark('completed');
  }

  get isStarted(): boolean {
    return this.#phase.started !== undefined && this.#phase.completed === undefined;
  }

  /** Whether its work has reported a status of this name. */
  hasStatus(id: string): boolean {
    return this.#statuses.has(id);
  }

  get isCached(): boolean {
    return this.#phase.cached === true;
  }

  /** Starts to show another vertex's progress as its own, from its beginning. */
  follow(other: VertexState): void {
    other.followers.add(this);
    for (const status of other.#statuses.values()) this.#mirror(status, this.#sink.status);
    for (const log of other.#replay) this.#mirror(log, this.#sink.log);
    for (const warning of other.#warnings) this.#mirror(warning, this.#sink.warning);
  }

  #mirror<E extends { vertex: Digest }>(event: E, into: (event: E) => void): void {
    into({ ...event, vertex: this.vertex.digest });
  }

  /** Shows other vertices' progress to all builds that hold this one. */
  forward(): ProgressSink {
    const each = (tell: (sink: ProgressSink) => void) => {
      for (const job of new Set(this.#allJobs())) tell(job.sink);
    };
    return {
      vertex: (event) => each((sink) => sink.vertex(event)),
      status: (event) => each((sink) => sink.status(event)),
      log: (event) => each((sink) => sink.log(event)),
      warning: (event) => each((sink) => sink.warning(event)),
    };
  }

  *#allJobs(): Iterable<Job> {
    yield* this.#jobs.keys();
    for (const follower of this.followers) yield* follower.#allJobs();
  }

  #fanOut(): ProgressSink {
    return {
      vertex: () => {},
      status: (event) => {
        this.#statuses.set(event.id, event);
        for (const job of this.#jobs.keys()) job.sink.status(event);
        for (const follower of this.followers) follower.#mirror(event, follower.#sink.status);
      },
      log: (event) => {
        this.#replay.push(event);
        this.#replayBytes += event.data.length;
        while (this.#replayBytes > replayLimit) this.#replayBytes -= this.#replay.shift()?.data.length ?? 0;
        for (const job of this.#jobs.keys()) job.sink.log(event);
        for (const follower of this.followers) follower.#mirror(event, follower.#sink.log);
      },
      warning: (event) => {
        this.#warnings.push(event);
        for (const job of this.#jobs.keys()) job.sink.warning(event);
        for (const follower of this.followers) follower.#mirror(event, follower.#sink.warning);
      },
    };
  }
}

function describe(vertex: Vertex): Omit<VertexEvent, keyof Phase> {
  const group = vertex.metadata?.progressGroup;
  return {
    digest: vertex.digest,
    inputs: vertex.inputs.map((input) => input.vertex.digest),
    name: vertex.name,
    ...(group === undefined ? {} : { progressGroup: { id: group.id, name: group.name, weak: group.weak } }),
  };
}
