/**
 * The interface of an object store: a bucket of S3, a container of Azure Blob Storage, or a folder. Nothing is held in
 * memory but a few buffers of each stream, and every request is tried again when the store or the network has a moment
 * of weakness.
 *
 * All methods throw DrydockErrors with hop `bucket`; `troubleOf` tells what the matter is. An aborted signal ends them
 * with `canceled`.
 *
 *     const store = await openObjectStore({ type: 's3', bucket: 'caches', region: 'eu-west-1', …});
 *     await store.put('blobs/sha256:…', { size, open: (start, end) => content.read(…) }, { sameBytes: true });
 *     for await (const page of store.list('blobs/')) for (const { key, modified } of page) …
 */
import type { Readable } from 'node:stream';

/** The facts about an object. */
export interface ObjectInfo {
  key: string;
  /** Bytes of the whole object. */
  size: number;
  /** When it was last written or touched, in ms since the epoch by the store's clock. */
  modified: number;
  etag?: string;
}

/** An object that is being read. `size` is that of the whole object, whatever part was asked for. */
export interface ObjectBody extends ObjectInfo {
  /** The bytes. When the connection breaks off, it goes on from there by itself. */
  stream: Readable;
}

/** Bytes that can be opened at any place, as often as tries are needed. */
export interface ObjectSource {
  size: number;
  /** Opens the bytes from `start` up to, and without, `end`. */
  open(start: number, end: number): Promise<Readable>;
}

export interface ObjectCall {
  signal?: AbortSignal;
}

export interface GetOptions extends ObjectCall {
  /** The first byte that is wanted; default 0. */
  start?: number;
  /** The byte after the last one that is wanted; default: all. */
  end?: number;
}

export interface PutOptions extends ObjectCall {
  /**
   * The key names the bytes (as a digest does), so that all who write it write the same. A large upload that broke off,
   * in this process or in one that died, is then gone on with, and to come second is no error.
   */
  sameBytes?: boolean;
  /** Hears how many bytes the store has taken. */
  onProgress?(sent: number): void;
}

export interface ListOptions extends ObjectCall {
  /** Lists what comes after this key. */
  after?: string;
  /** The most objects of one page; default, and most of all, 1,000. */
  pageSize?: number;
}

/** See the top of this file. A key is a path of UTF-8 text without `.` and `..`, of 1,000 bytes at most. */
export interface ObjectStore {
  /** What messages call it: `s3://bucket`. It never has a secret in it. */
  readonly name: string;
  /** Opens an object. Throws trouble `not-found`. */
  get(key: string, options?: GetOptions): Promise<ObjectBody>;
  /** Returns the facts about an object; undefined when it is not there. */
  head(key: string, options?: ObjectCall): Promise<ObjectInfo | undefined>;
  /** Writes an object, whole or not at all, in the place of one that was there. Large ones go in parts, some at once. */
  put(key: string, source: ObjectSource | Uint8Array, options?: PutOptions): Promise<void>;
  /** Makes an object as young as one that was written now. Throws trouble `not-found`. */
  touch(key: string, options?: ObjectCall): Promise<void>;
  /** Lists the objects whose keys begin with `prefix`, in the order of the keys' bytes, by pages. */
  list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo[]>;
  /** Removes objects. One that is not there is no error. */
  delete(keys: readonly string[], options?: ObjectCall): Promise<void>;
  /**
   * Ends the uploads of keys with this prefix that were begun `olderThan` ms ago or earlier and are not done, and
   * returns their number. Stores that do so by themselves, or have no list of them, return 0.
   */
  abortLeftovers(prefix: string, olderThan: number, options?: ObjectCall): Promise<number>;
  /** Ends idle connections. */
  close(): void;
}
