import { canceled, type DrydockError } from '../errors/index.ts';
import type { Graph } from '../llb/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import {
  canceledText,
  type LogEvent,
  type NetworkEvent,
  now,
  type ProgressSink,
  type StatusEvent,
  type UsageEvent,
  type VertexEvent,
  type WarningEvent,
} from '../progress/index.ts';
import type { Session } from '../session/index.ts';
import type { Ref } from '../store/index.ts';
import type { ForeignCache, ForeignMount } from './foreign-cache.ts';
import type { Hold } from './hold.ts';
import type { Job } from './job.ts';
import type { Pins } from './pins.ts';
import type { VertexState } from './state.ts';
import type { Vertex } from './types.ts';
import type { Work } from './work.ts';

/** What builds are told of a vertex, apart from what each of them calls it. */
type Phase = Pick<VertexEvent, 'started' | 'completed' | 'cached' | 'error'>;

/** Log bytes kept for a build that joins a running vertex. */
const replayLimit = 256 * 1024;

/**
 * The builds that hold a vertex at work: what they are told of it, and what they are asked for it.
 *
 * An audience begins empty. A build comes in with the first of its solves that joins, and goes with the last one that
 * leaves. A build that comes late is told first what the others have heard; a build that goes before the end is told
 * that the vertex was given up. While a vertex waits for an equal one, its audience follows the other's: it is shown
 * the other's progress as its own vertex's, and its builds are asked together with the other's. A vertex whose audience
 * has neither builds nor followers is wanted by nobody but the ops that read its result.
 *
 * Nothing of an audience is written but by its own methods.
 */
export class Audience {
  readonly #vertex: Vertex;
  readonly #work: Pick<Work, 'signal' | 'orCanceled'>;
  /** Its builds, in the order in which they came, each with the vertex as it calls it and with its solves. */
  readonly #jobs = new Map<Job, { vertex: Vertex; holds: Set<Hold> }>();
  /** Audiences of vertices that wait for this one's result. */
  readonly #followers = new Set<Audience>();
  #phase: Phase = {};
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #warnings: WarningEvent[] = [];
  #usage: UsageEvent | undefined;
  #network: NetworkEvent | undefined;
  readonly #replay: LogEvent[] = [];
  #replayBytes = 0;
  /** What was found out of sources for the vertex. */
  readonly #pinned = new Map<string, Promise<unknown>>();
  /** Tells all that hear of the vertex what its work reports. */
  readonly sink: ProgressSink;

  constructor(vertex: Vertex, work: Pick<Work, 'signal' | 'orCanceled'>) {
    this.#vertex = vertex;
    this.#work = work;
    this.sink = this.#fanOut();
  }

  /** Whether no build and no follower is left. */
  get isEmpty(): boolean {
    return this.#jobs.size === 0 && this.#followers.size === 0;
  }

  /** Adds a solve; a build new to this vertex is told what has happened so far. `vertex` is as that build calls it. */
  join(hold: Hold, vertex: Vertex): void {
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
    if (this.#usage !== undefined) sink.usage?.(this.#usage);
    if (this.#network !== undefined) sink.network?.(this.#network);
  }

  /** Takes a solve away. A build that leaves work unfinished is told that it was given up. */
  leave(hold: Hold): void {
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

  /** Starts to show another audience's progress as this vertex's own, from its beginning. */
  follow(other: Audience): void {
    other.#followers.add(this);
    for (const status of other.#statuses.values()) this.#mirror(status, this.sink.status);
    for (const log of other.#replay) this.#mirror(log, this.sink.log);
    for (const warning of other.#warnings) this.#mirror(warning, this.sink.warning);
    if (other.#usage !== undefined) this.#mirror(other.#usage, this.#use);
    if (other.#network !== undefined) this.#mirror(other.#network, this.#reach);
  }

  /** Ends what `follow` began. */
  unfollow(other: Audience): void {
    other.#followers.delete(this);
  }

  /** Tells its builds what the vertex's work has made. */
  made(refs: readonly Ref[]): void {
    for (const [job, { vertex }] of this.#jobs) job.made?.(vertex, refs);
  }

  /** Tells all solves that hold the vertex that it failed. */
  fail(err: DrydockError): void {
    for (const { holds } of this.#jobs.values()) for (const hold of holds) hold.fail(err);
  }

  /** Updates what builds see of the vertex. */
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

  /** Whether the builds see the vertex at work. */
  get isStarted(): boolean {
    return this.#phase.started !== undefined && this.#phase.completed === undefined;
  }

  get isCached(): boolean {
    return this.#phase.cached === true;
  }

  /** Whether the vertex's work has reported a status of this name. */
  hasStatus(id: string): boolean {
    return this.#statuses.has(id);
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
      usage: (event) => each((sink) => sink.usage?.(event)),
      network: (event) => each((sink) => sink.network?.(event)),
    };
  }

  /** What the vertex's process has used of the machine; undefined when none has run to its end. */
  get usage(): UsageEvent['usage'] | undefined {
    return this.#usage?.usage;
  }

  /** What the vertex's process has asked for by the proxy of its network; undefined where that is not known. */
  get network(): NetworkEvent['network'] | undefined {
    return this.#network?.network;
  }

  /** The sessions of all builds, in the order in which they are asked. */
  sessions(): readonly Session[] {
    return [...this.#allJobs()].map((job) => job.session);
  }

  /** The foreign caches of all builds, once they are read. Throws `canceled` when the vertex is given up meanwhile. */
  async imports(): Promise<readonly ForeignCache[]> {
    const reading = new Set([...this.#allJobs()].flatMap((job) => job.imports));
    if (reading.size === 0) return [];
    return [...new Set((await this.#work.orCanceled(Promise.all(reading))).flat())];
  }

  /**
   * Notes that a cache mount is used for all builds, and returns what their foreign caches have of it. A mount that one
   * of them has emptied stays so.
   */
  async cacheMount(key: string): Promise<readonly ForeignMount[]> {
    const jobs = [...this.#allJobs()];
    for (const { about } of jobs) about.usedCaches.add(key);
    if (jobs.some(({ emptiedCaches }) => emptiedCaches.has(key.replace(/:sha256:[0-9a-f]{64}$/, ''))))
      return [];
    const caches = await this.imports();
    return caches.flatMap(({ mounts = [] }) => mounts.filter((mount) => mount.key === key));
  }

  /** The build that is asked first. */
  get job(): Job | undefined {
    return this.#firstJob();
  }

  /** Entitlements that the builds are granted: for an op with a graph of its own all of them are granted the same. */
  get allow(): readonly string[] {
    return this.#firstJob()?.allow ?? [];
  }

  /** The vertices in whose ops the builds are nested. */
  get within(): readonly VertexState[] {
    return [...new Set([...this.#allJobs()].flatMap((job) => job.within))];
  }

  /** What the builds know of sources; a graph nested in the vertex knows the same. */
  get pins(): Pins | undefined {
    return this.#firstJob()?.pins;
  }

  /** What the first build knows of a source, or finds now, for all of them. */
  pin<T>(key: string, find: () => Promise<T>): Promise<T> {
    const first = this.#firstJob();
    const found = first === undefined ? find() : first.pins.pin(key, find);
    this.#pinned.set(key, found);
    for (const job of this.#allJobs()) job.pins.adopt(key, found);
    found.catch(() => this.#pinned.delete(key));
    return found;
  }

  /** Reads a definition that the op brings along, under the rules of a build that wants its result. */
  load(definition: Definition): Graph | Promise<Graph> {
    const job = this.#firstJob();
    if (job === undefined) throw canceled(this.#work.signal.reason);
    return job.load(definition);
  }

  /**
   * Holds a URL that the vertex's process asks for against the rules of all builds that want its result, and returns the
   * URL to ask in its place. Throws `denied`.
   */
  async judgeUrl(url: string): Promise<string> {
    let judged = url;
    for (const job of new Set(this.#allJobs())) judged = await job.judgeUrl(judged);
    return judged;
  }

  #firstJob(): Job | undefined {
    for (const job of this.#allJobs()) return job;
    return undefined;
  }

  *#allJobs(): Iterable<Job> {
    yield* this.#jobs.keys();
    for (const follower of this.#followers) yield* follower.#allJobs();
  }

  #mirror<E extends { vertex: Digest }>(event: E, into: (event: E) => void): void {
    into({ ...event, vertex: this.#vertex.digest });
  }

  readonly #use = (event: UsageEvent): void => {
    this.#usage = event;
    for (const job of this.#jobs.keys()) job.sink.usage?.(event);
    for (const follower of this.#followers) follower.#mirror(event, follower.#use);
  };

  readonly #reach = (event: NetworkEvent): void => {
    this.#network = event;
    for (const job of this.#jobs.keys()) job.sink.network?.(event);
    for (const follower of this.#followers) follower.#mirror(event, follower.#reach);
  };

  #fanOut(): ProgressSink {
    return {
      vertex: () => {},
      status: (event) => {
        this.#statuses.set(event.id, event);
        for (const job of this.#jobs.keys()) job.sink.status(event);
        for (const follower of this.#followers) follower.#mirror(event, follower.sink.status);
      },
      log: (event) => {
        this.#replay.push(event);
        this.#replayBytes += event.data.length;
        while (this.#replayBytes > replayLimit) this.#replayBytes -= this.#replay.shift()?.data.length ?? 0;
        for (const job of this.#jobs.keys()) job.sink.log(event);
        for (const follower of this.#followers) follower.#mirror(event, follower.sink.log);
      },
      warning: (event) => {
        this.#warnings.push(event);
        for (const job of this.#jobs.keys()) job.sink.warning(event);
        for (const follower of this.#followers) follower.#mirror(event, follower.sink.warning);
      },
      usage: this.#use,
      network: this.#reach,
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
