/** Lists of the files in images' layers, made when they are asked for, and kept for a while in files beside the store. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type StoredImage, withLease } from '../distribution/index.ts';
import { throwIfAborted } from '../errors/index.ts';
import { Limiter } from '../flow/index.ts';
import { type FileSums, type ListedFile, listedFolder, listLayers } from '../layer/index.ts';
import type { Store } from '../store/index.ts';
import { storedLayers } from './blobs.ts';

/** How many images' lists are kept; those that were asked for last. */
const mostImages = 8;
/** How long lists are kept that lack a layer, in ms: it may have been fetched meanwhile. */
const lackMs = 10_000;

interface Lists {
  file: string;
  madeAt: number;
  /** What each layer has in all; undefined of a layer that is not here. */
  sums: (FileSums | undefined)[];
}

/** The lists of one store's images. */
export class ImageFiles {
  readonly #store: Store;
  readonly #lists = new Map<string, Promise<Lists>>();
  /** One at a time: a large image's takes some hundred MB of memory. */
  readonly #making = new Limiter(1);

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * What each layer of an image has, lowest first: its files and their bytes, and how many of those later layers hide.
   * Undefined for a layer that is neither unpacked nor in content. Throws as `listLayers` does.
   */
  async sums(image: StoredImage, signal?: AbortSignal): Promise<(FileSums | undefined)[]> {
    return (await this.#of(image, signal)).sums;
  }

  /**
   * The lines `from` … of a folder's list in a layer: what the layer adds, changes and removes there. A folder in which
   * the layer has nothing is empty. Throws as `listLayers` does.
   */
  async folder(
    image: StoredImage,
    place: { layer: number; folder: string; from: number; count: number },
    signal?: AbortSignal,
  ): Promise<{ total: number; files: ListedFile[] }> {
    const { file } = await this.#of(image, signal);
    return listedFolder(file, place);
  }

  async #of(image: StoredImage, signal: AbortSignal | undefined): Promise<Lists> {
    const key = image.manifest.digest;
    for (;;) {
      throwIfAborted(signal);
      const known = this.#lists.get(key);
      if (known === undefined) return this.#make(key, image, signal);
      this.#lists.delete(key);
      this.#lists.set(key, known);
      try {
        const found = await known;
        if (!found.sums.includes(undefined) || performance.now() - found.madeAt < lackMs) return found;
      } catch {
        // Whoever asked first has gone, or what was wrong may be mended.
      }
      if (this.#lists.get(key) === known) this.#forget(key, known);
    }
  }

  #make(key: string, image: StoredImage, signal: AbortSignal | undefined): Promise<Lists> {
    const made = this.#making.run(() => this.#list(image, signal), signal);
    this.#lists.set(key, made);
    made.catch(() => this.#lists.get(key) === made && this.#lists.delete(key));
    for (const [old, lists] of this.#lists) {
      if (this.#lists.size <= mostImages) break;
      this.#forget(old, lists);
    }
    return made;
  }

  #forget(key: string, lists: Promise<Lists>): void {
    this.#lists.delete(key);
    void lists.then(({ file }) => rm(file, { force: true })).catch(() => {});
  }

  async #list(image: StoredImage, signal: AbortSignal | undefined): Promise<Lists> {
    const store = this.#store;
    const file = join(store.runDir, `files-${randomUUID()}.db`);
    const layers = await storedLayers(store, image);
    const sums = await withLease(store, undefined, (lease) =>
      listLayers(store, layers, { file, lease, signal }),
    );
    return { file, sums, madeAt: performance.now() };
  }
}
