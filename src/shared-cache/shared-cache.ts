/** The cache of a fleet of builders: asked for what the local cache lacks, and told in the background what was made. */
import { randomUUID } from 'node:crypto';
import { canceled, type DrydockError, toDrydockError } from '../errors/index.ts';
import { type CacheLayer, cacheLayers, type ExportContext, layersOf } from '../exporter/index.ts';
import { Limiter, orAbort } from '../flow/index.ts';
import { chunkAnnotations, type Digest, digestOf } from '../oci/index.ts';
import { boundProgress } from '../progress/index.ts';
import type { Refs } from '../refs/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { FleetCache, FleetRecord, FleetResult } from '../solver/index.ts';
import { keepTrees, type Store } from '../store/index.ts';
import { Announcement } from './announcement.ts';
import { arrival } from './arrival.ts';
import { type Coming, type Entry, type EntryLayer, mayCome } from './entry.ts';
import { EntryCache } from './entry-cache.ts';
import type { Found, SharedPlace } from './place.ts';

interface SharedDeps {
  place: SharedPlace;
  name: string;
  store: Store;
  refs: Refs;
  registry: RegistryClient;
  readOnly: boolean;
  /** The longest time that one question may take, ms. */
  timeout: number;
  /** What was not used for so long is removed, ms; undefined: nothing is. */
  keep: number | undefined;
  /** Is told once, in a sentence, when the cache cannot be used, and once when it can again. */
  say(text: string): void;
}

/** How long an answer counts that was asked for ahead, ms; and how many are remembered. */
const freshFor = 5000;
const mostAskedAhead = 1000;
/** Results that are written at one time, and those that may wait. More than these are not written. */
const atOnce = 4;
const mostWaiting = 2000;
/** How long a writer is not waited for that was waited for in vain, ms; and how many are remembered. */
const slowFor = 60_000;
const mostSlow = 1000;
/** Results of which it is said at one time that their layers are coming. */
const mostAnnounced = 64;
/** Layers that are looked for and sent at one time. */
const mostSent = 16;
/** Keys that are asked for at one time. */
const mostAsked = 64;
/** How long nobody asks after a failure, ms. */
const pauseAfterFailure = 15_000;
/** How old an entry is before its use is noted, ms. */
const touchAge = 24 * 3600_000;
/** How long a layer that was seen there is taken to be there, ms; and how many are remembered. */
const seenFor = 600_000;
const mostSeen = 10_000;
/** How often this process looks whether the place is to be swept, ms. */
const collectEvery = 3600_000;

/** A question of a moment ago. */
interface Asked {
  /** By `performance.now()`. */
  at: number;
  found: Promise<Found | undefined>;
  /** Whether somebody has had the answer, who asks anew when it is needed again. */
  isTaken: boolean;
}

export class SharedCache implements FleetCache {
  readonly #deps: SharedDeps;
  readonly #limiter = new Limiter(atOnce);
  readonly #asking = new Limiter(mostAsked);
  readonly #sending = new Limiter(mostSent);
  readonly #work = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  /** The layers that were put there, or found there, and those that are on their way. */
  readonly #there = new Map<Digest, { at: number; put: Promise<void> }>();
  readonly #asked = new Map<Digest, Asked>();
  /** The name by which others tell this writer from others. */
  readonly #writer = randomUUID();
  /** Writers that were waited for in vain, and when, by `performance.now()`. */
  readonly #slow = new Map<string, number>();
  #downUntil = 0;
  #isDown = false;
  #collected = 0;

  constructor(deps: SharedDeps) {
    this.#deps = deps;
  }

  async find(
    key: Digest,
    { signal, warn }: { signal: AbortSignal; warn(short: string): void },
  ): Promise<FleetRecord | undefined> {
    if (Date.now() < this.#downUntil) return undefined;
    const { timeout } = this.#deps;
    let found: Found | undefined;
    try {
      found = await this.#answer(key, signal);
    } catch (err) {
      if (signal.aborted) throw canceled(signal.reason);
      const error = toDrydockError(err, 'cache');
      // What is filed there is nothing that a builder of ours has written.
      if (error.code === 'corrupt') return undefined;
      const why = error.code === 'canceled' ? `it did not answer within ${timeout / 1000} s` : error.message;
      this.#failed(why, error, warn);
      return undefined;
    }
    this.#worked();
    return found === undefined ? undefined : this.#recordOf(key, found);
  }

  async expect(key: Digest): Promise<Digest | undefined> {
    if (Date.now() < this.#downUntil) return undefined;
    const asked = this.#fresh(key) ?? this.#note(key, this.#ask(key, this.#stop.signal), false);
    // Who comes for the answer hears of what went wrong.
    return (await asked.found.catch(() => undefined))?.entry.id;
  }

  /** The answer to a question that was asked ahead a moment ago, once; else it is asked now. */
  #answer(key: Digest, signal: AbortSignal): Promise<Found | undefined> {
    const asked = this.#fresh(key);
    if (asked === undefined || asked.isTaken) return this.#note(key, this.#ask(key, signal), true).found;
    asked.isTaken = true;
    return orAbort(asked.found, signal);
  }

  #fresh(key: Digest): Asked | undefined {
    const asked = this.#asked.get(key);
    return asked !== undefined && performance.now() - asked.at < freshFor ? asked : undefined;
  }

  #note(key: Digest, found: Asked['found'], isTaken: boolean): Asked {
    if (this.#asked.size >= mostAskedAhead) this.#asked.clear();
    const asked = { at: performance.now(), found, isTaken };
    this.#asked.set(key, asked);
    return asked;
  }

  #recordOf(key: Digest, found: Found): FleetRecord | undefined {
    const { entry, modified } = found;
    // Its writer has died.
    if (entry.coming !== undefined && !mayCome(entry.coming, modified, Date.now())) return undefined;
    if (entry.coming === undefined) this.#noteUse(key, found);
    const arrive = (coming: Coming, signal: AbortSignal) => this.#arrive(key, coming, signal);
    return { id: entry.id, cache: new EntryCache(this.#deps, entry, arrive) };
  }

  /**
   * The entry whose layers are coming, once they are there. A writer that was waited for in vain is not waited for again
   * for a while: a chain of its steps would take as many waits.
   */
  async #arrive(key: Digest, coming: Coming, signal: AbortSignal): Promise<Entry | undefined> {
    const look = async () => (await this.#ask(key, signal))?.entry;
    const since = this.#slow.get(coming.writer);
    if (since !== undefined && performance.now() - since < slowFor) {
      const entry = await look();
      return entry?.coming === undefined ? entry : undefined;
    }
    const entry = await arrival(coming, look, signal);
    if (this.#slow.size >= mostSlow) this.#slow.clear();
    if (entry === undefined) this.#slow.set(coming.writer, performance.now());
    return entry;
  }

  #ask(key: Digest, signal: AbortSignal): Promise<Found | undefined> {
    const { place, timeout } = this.#deps;
    return this.#asking.run(
      () => place.find(key, { signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]) }),
      signal,
    );
  }

  async write(made: FleetResult): Promise<void> {
    const { readOnly, store } = this.#deps;
    if (readOnly || this.#stop.signal.aborted || this.#work.size >= mostWaiting) return;
    const lease = `shared-${randomUUID()}`;
    try {
      await store.leases.create(lease);
      await keepTrees(store, lease, made.refs);
    } catch {
      await store.leases.delete(lease).catch(() => {});
      return;
    }
    this.#background(async (signal) => {
      const announcement = this.#announce(made, signal);
      try {
        await this.#limiter.run(() => this.#writeNow(made, lease, announcement, signal), signal);
      } finally {
        await announcement?.end();
        await store.leases.delete(lease);
      }
    });
  }

  /** Waits until what was made so far is written, for at most so long (ms), and closes the place. */
  async close(wait: number): Promise<void> {
    const timer = setTimeout(() => this.#stop.abort(), wait);
    while (this.#work.size > 0) await Promise.all(this.#work);
    clearTimeout(timer);
    this.#stop.abort();
    this.#deps.place.close();
  }

  /** Has others know of a result whose layers take a while. Of very many at one time, not all are told. */
  #announce(
    { id, keys, description, refs, took }: FleetResult,
    signal: AbortSignal,
  ): Announcement | undefined {
    if (this.#work.size >= mostAnnounced) return undefined;
    const about = { writer: this.#writer, took: Math.round(took), outputs: refs.length };
    return new Announcement(this.#deps.place, { id, keys, description }, about, signal);
  }

  async #writeNow(
    { id, keys, description, refs, session }: FleetResult,
    lease: string,
    announcement: Announcement | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { place, store, registry } = this.#deps;
    this.#sweep();
    const nothing = () => {};
    const sink = { vertex: nothing, status: nothing, log: nothing, warning: nothing };
    const progress = boundProgress(digestOf(lease), sink);
    const ctx: ExportContext = {
      store,
      registry,
      trusting: () => registry,
      session,
      progress,
      signal,
      lease,
    };
    const outputs: EntryLayer[][] = [];
    for (const ref of refs) {
      const layers = await cacheLayers(await layersOf(ref, ctx), ctx, {
        compression: { type: 'zstd' },
        force: false,
        ociTypes: true,
      });
      await this.#putBlobs(layers, signal);
      outputs.push(
        layers.map(({ descriptor, diffId, createdAt, createdBy }) => {
          const { mediaType, digest, size } = descriptor;
          const annotations = chunkAnnotations(descriptor);
          return {
            ...{ mediaType, digest, size, diffId },
            ...(annotations && { annotations }),
            ...(createdAt === undefined ? {} : { madeAt: createdAt }),
            ...(createdBy === undefined ? {} : { madeBy: createdBy }),
          };
        }),
      );
    }
    const entry: Entry = { id, description, outputs };
    await announcement?.end();
    for (const key of new Set(keys)) await place.file(key, entry, { signal });
    this.#worked();
  }

  /** Has the place swept if it is time: beside a write, so that a command that ends after it waits no longer. */
  #sweep(): void {
    const { place, keep } = this.#deps;
    if (keep === undefined || Date.now() - this.#collected < collectEvery) return;
    this.#collected = Date.now();
    this.#background((signal) => place.collect?.(keep, { signal }) ?? Promise.resolve());
  }

  /** Puts all layers there, some at one time. Whatever fails, nothing is under way afterwards. */
  async #putBlobs(layers: readonly CacheLayer[], signal: AbortSignal): Promise<void> {
    const put = (layer: CacheLayer) => this.#sending.run(() => this.#putBlob(layer, signal), signal);
    const results = await Promise.allSettled(layers.map(put));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /**
   * Puts a layer there, once for all results that stand on it: each step of a chain has all layers of those below. One
   * that was seen there a while ago is not asked for again.
   */
  async #putBlob({ descriptor, bring }: CacheLayer, signal: AbortSignal): Promise<void> {
    const { digest } = descriptor;
    const now = Date.now();
    const known = this.#there.get(digest);
    if (known !== undefined && now - known.at < seenFor) return known.put;
    if (this.#there.size >= mostSeen) this.#there.clear();
    const put = this.#deps.place.putBlob(descriptor, bring, { signal });
    const noted = { at: now, put };
    this.#there.set(digest, noted);
    try {
      await put;
    } catch (err) {
      if (this.#there.get(digest) === noted) this.#there.delete(digest);
      throw err;
    }
  }

  #noteUse(key: Digest, { entry, modified }: Found): void {
    const { place, readOnly } = this.#deps;
    if (readOnly || modified === undefined || Date.now() - modified < touchAge) return;
    this.#background((signal) => place.touch?.(key, entry, { signal }) ?? Promise.resolve());
  }

  #background(work: (signal: AbortSignal) => Promise<void>): void {
    const running = work(this.#stop.signal)
      .catch((err) => {
        if (this.#stop.signal.aborted) return;
        const error = toDrydockError(err, 'cache');
        // What was collected meanwhile is not written; that is no fault of the place.
        if (error.hop !== 'store') this.#failed(error.message, error, () => {});
      })
      .finally(() => this.#work.delete(running));
    this.#work.add(running);
  }

  #failed(why: string, { hint }: DrydockError, warn: (short: string) => void): void {
    this.#downUntil = Date.now() + pauseAfterFailure;
    if (this.#isDown) return;
    this.#isDown = true;
    const text = `the shared cache ${this.#deps.name} cannot be used: ${why}; builds go on without it`;
    warn(text);
    this.#deps.say(hint === undefined ? text : `${text}. ${hint}`);
  }

  #worked(): void {
    if (!this.#isDown) return;
    this.#isDown = false;
    this.#downUntil = 0;
    this.#deps.say(`the shared cache ${this.#deps.name} can be used again`);
  }
}
