import type { KeyParts } from '../cache/index.ts';
import { canceled } from '../errors/index.ts';
import type { ContentSelector } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Ref } from '../store/index.ts';
import type { ForeignRecord } from './foreign-cache.ts';
import type { Job } from './job.ts';
import type { CacheMap } from './types.ts';

/** What a vertex is to the cache, found without running it where possible. */
export interface VertexIdentity {
  /** Record id: what users of this vertex are keyed by. */
  id: Digest;
  /** The id that it would have if its result could not have come from a foreign cache; undefined: `id` is that. */
  shared?: Digest;
  /** Nothing can be cached on top of this id: it was never seen before. */
  fresh: boolean;
  /** Named only within this build; its users are keyed by its content. */
  volatile: boolean;
  /** Keys to store with the result. */
  keys: NamedKey[];
  /** Contents of volatile inputs that the id rests on, to be checked again once the op has read them. */
  claims: { input: number; selectors: readonly ContentSelector[]; digest: Digest }[];
  /** By output: what it may be in caches from elsewhere. */
  foreign?: readonly (readonly ForeignRecord[])[];
  /** What it may be elsewhere is the fleet's word, which all tenants take. */
  fleet?: boolean;
  /** It says something of one tenant alone. */
  own?: boolean;
}

/** A key of a vertex. */
export interface NamedKey {
  key: Digest;
  parts: KeyParts;
  /** It says something of one tenant alone. */
  own: boolean;
}

/**
 * The solver's work for one vertex.
 *
 * It is made when the first solve needs the vertex. It is identified next: the solver finds out which cache record the
 * vertex is. Its result is then known, from that record, from a foreign cache or from an equal vertex at work, or else
 * the op is run. The result is held for builds, followers and the ops that read it. When none of them is left, the
 * work is retired: told to stop, waited for, cleaned up after, and its lease is given up. Each of these steps happens
 * once, whoever asks for it and however often; a solve that wants the vertex after it has failed or was retired begins
 * a new work.
 *
 * The solver alone moves it on; ops, by their context, see its signal and add cleanups.
 */
export class Work {
  readonly #controller = new AbortController();
  #canceled: PromiseWithResolvers<never> | undefined;
  readonly #cleanups: (() => void | Promise<void>)[] = [];
  readonly #wanted = new Set<number>();
  #cacheMap: Promise<CacheMap> | undefined;
  #identity: Promise<VertexIdentity> | undefined;
  #result: Promise<readonly Ref[]> | undefined;
  #anew: Promise<readonly Ref[]> | undefined;
  #isTainted = false;
  #borrows = false;
  #readers = 0;
  #nested: Job | undefined;
  #retired: Promise<void> | undefined;

  /** Outputs that somebody has asked for. */
  get wanted(): ReadonlySet<number> {
    return this.#wanted;
  }

  want(output: number): void {
    this.#wanted.add(output);
  }

  /** The cache map, made by the op the first time. */
  mapped(ask: () => Promise<CacheMap>): Promise<CacheMap> {
    this.#cacheMap ??= ask();
    return this.#cacheMap;
  }

  /** The identity; undefined before anybody has asked for it. */
  get identity(): Promise<VertexIdentity> | undefined {
    return this.#identity;
  }

  /** The identity, found the first time. */
  identified(find: () => Promise<VertexIdentity>): Promise<VertexIdentity> {
    this.#identity ??= find();
    return this.#identity;
  }

  /** The refs of all outputs; undefined before anybody has asked for them. */
  get result(): Promise<readonly Ref[]> | undefined {
    return this.#result;
  }

  /** The refs of all outputs, found or made the first time. */
  resolved(find: () => Promise<readonly Ref[]>): Promise<readonly Ref[]> {
    this.#result ??= find();
    return this.#result;
  }

  /** The refs of all outputs, made after all although a foreign cache had said that they need not be. */
  doneAnew(make: () => Promise<readonly Ref[]>): Promise<readonly Ref[]> {
    this.#anew ??= make();
    return this.#anew;
  }

  /**
   * Whether the result was made from something that changed meanwhile: it is not what the identity says, so nothing made
   * of it is recorded.
   */
  get isTainted(): boolean {
    return this.#isTainted;
  }

  /** Notes, when the op has run, whether the result is tainted. */
  taint(isTainted: boolean): void {
    this.#isTainted = isTainted;
  }

  /** Whether it has no result of its own to give, as it looks for another build's. */
  get borrows(): boolean {
    return this.#borrows;
  }

  borrow(): void {
    this.#borrows = true;
  }

  /** Whether ops are at work on its result. */
  get isRead(): boolean {
    return this.#readers > 0;
  }

  /** Notes that an op begins to read the result. It stays, though all builds should let go of it, until `endRead`. */
  beginRead(): void {
    this.#readers++;
  }

  endRead(): void {
    this.#readers--;
  }

  /** The build of graphs nested in the vertex, if its op has any. */
  get nested(): Job | undefined {
    return this.#nested;
  }

  /** The build of graphs nested in the vertex, made the first time. */
  nest(make: () => Job): Job {
    this.#nested ??= make();
    return this.#nested;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Tells the work to stop. */
  cancel(reason: unknown): void {
    this.#controller.abort(reason);
    this.#canceled?.reject(canceled(reason));
  }

  /** What a promise of another vertex's work gives, or `canceled` as soon as this one is told to stop. */
  orCanceled<T>(work: Promise<T>): Promise<T> {
    if (this.#canceled === undefined) {
      this.#canceled = Promise.withResolvers<never>();
      this.#canceled.promise.catch(() => {});
      if (this.signal.aborted) this.#canceled.reject(canceled(this.signal.reason));
    }
    return Promise.race([work, this.#canceled.promise]);
  }

  /** Registers what is to be done once the work has stopped. */
  onRelease(cleanup: () => void | Promise<void>): void {
    this.#cleanups.push(cleanup);
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

  /** Settles when all of it has ended; `end` is called the first time. */
  retired(end: () => Promise<void>): Promise<void> {
    this.#retired ??= end();
    return this.#retired;
  }
}
