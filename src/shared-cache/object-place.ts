/**
 * A fleet's cache as objects: `keys/HEX` for each key, `blobs/HEX` for each layer. A key is written after its blobs, so
 * that a writer that dies leaves blobs at most. What is used becomes young, and what is old is removed: nothing has to be
 * counted.
 */
import { buffer } from 'node:stream/consumers';
import { type ObjectStore, troubleOf } from '../object-store/index.ts';
import { type Descriptor, type Digest, hex } from '../oci/index.ts';
import type { Refs } from '../refs/index.ts';
import { type CacheBlobs, clientBlobs } from '../remote-cache/index.ts';
import type { Ref, Store } from '../store/index.ts';
import { type Entry, type EntryLayer, encodeEntry, maxEntry, parseEntry } from './entry.ts';
import { layerBlob } from './layer-source.ts';
import type { Found, PlaceCall, SharedPlace } from './place.ts';

const day = 24 * 3600_000;
/** How old a blob may be before it is made young by who uses it. Keys are kept shorter than blobs by this. */
const blobAge = day;
/** How long a blob outlives the keys: a writer that has seen it has this long to file its key. */
const margin = 2 * day;
/** Removed at one time. */
const together = 500;

export class ObjectPlace implements SharedPlace {
  readonly #objects: ObjectStore;
  readonly #prefix: string;
  readonly #store: Store;
  readonly #blobs: CacheBlobs;

  constructor(objects: ObjectStore, prefix: string, store: Store, refs: Refs) {
    this.#objects = objects;
    this.#prefix = prefix;
    this.#store = store;
    this.#blobs = clientBlobs(store, refs, {
      size: async (digest) => (await objects.head(this.#blob(digest)))?.size,
      read: async (digest, { signal } = {}) => (await objects.get(this.#blob(digest), { signal })).stream,
    });
  }

  async find(key: Digest, { signal }: PlaceCall): Promise<Found | undefined> {
    try {
      const { stream, size, modified } = await this.#objects.get(this.#key(key), { signal, end: maxEntry });
      const bytes = await buffer(stream);
      return size > maxEntry ? undefined : { entry: parseEntry(bytes), modified };
    } catch (err) {
      if (troubleOf(err) === 'not-found') return undefined;
      throw err;
    }
  }

  tree(layers: readonly EntryLayer[]): Ref {
    return this.#blobs.tree(layers.map(layerBlob));
  }

  async putBlob(
    { digest, size }: Descriptor,
    bring: () => Promise<void>,
    { signal }: PlaceCall,
  ): Promise<void> {
    const key = this.#blob(digest);
    const there = await this.#objects.head(key, { signal });
    if (there?.size === size) {
      if (Date.now() - there.modified > blobAge) await this.#objects.touch(key, { signal });
      return;
    }
    await bring();
    const open = (start: number, end: number) =>
      this.#store.content.read(digest, { offset: start, length: end - start });
    await this.#objects.put(key, { size, open }, { signal, sameBytes: true });
  }

  async file(key: Digest, entry: Entry, { signal }: PlaceCall): Promise<void> {
    await this.#objects.put(this.#key(key), encodeEntry(entry), { signal });
  }

  async touch(key: Digest, { outputs }: Entry, { signal }: PlaceCall): Promise<void> {
    // The blobs come first: a key that is young names none that is old.
    for (const digest of new Set(outputs.flat().map(({ digest }) => digest))) {
      await this.#objects.touch(this.#blob(digest), { signal });
    }
    await this.#objects.touch(this.#key(key), { signal });
  }

  async collect(keep: number, { signal }: PlaceCall): Promise<void> {
    const mark = `${this.#prefix}collected`;
    const last = await this.#objects.head(mark, { signal });
    const now = Date.now();
    if (last !== undefined && now - last.modified < day) return;
    await this.#objects.put(mark, Buffer.from(new Date(now).toISOString()), { signal });
    await this.#removeOld(`${this.#prefix}keys/`, now - keep, signal);
    await this.#removeOld(`${this.#prefix}blobs/`, now - keep - margin, signal);
    await this.#objects.abortLeftovers(`${this.#prefix}blobs/`, day, { signal });
  }

  close(): void {
    this.#objects.close();
  }

  async #removeOld(prefix: string, before: number, signal: AbortSignal): Promise<void> {
    let old: string[] = [];
    const remove = async () => {
      if (old.length > 0) await this.#objects.delete(old, { signal });
      old = [];
    };
    for await (const page of this.#objects.list(prefix, { signal })) {
      for (const { key, modified } of page) if (modified < before) old.push(key);
      if (old.length >= together) await remove();
    }
    await remove();
  }

  #key(key: Digest): string {
    return `${this.#prefix}keys/${hex(key)}`;
  }

  #blob(digest: Digest): string {
    return `${this.#prefix}blobs/${hex(digest)}`;
  }
}
