/** A cache in a bucket, in BuildKit's layout: `blobs/sha256:…` and `manifests/NAME`. */
import { fail } from '../../errors/index.ts';
import { inParallel } from '../../flow/index.ts';
import { type ObjectSource, type ObjectStore, openObjectStore, troubleOf } from '../../object-store/index.ts';
import { maxCacheConfig } from '../format/config.ts';
import type { KeepRule } from '../keeping/rule.ts';
import type { BucketPlace } from './place.ts';
import type { CacheShelf } from './shelf.ts';

/** Uploads that were begun so long ago are given up, ms. */
const oldUpload = 24 * 3600_000;
/** A layer above this size may go by an upload that can be left over, bytes. */
const large = 16 << 20;

/**
 * Opens the bucket. `mayUse` says whether this machine's own credentials are for a bucket. Throws `denied` (hop `cache`)
 * when they are not and the attributes have none. `keep`: which older exports stay, when one is written.
 */
export async function bucketShelf(
  place: BucketPlace,
  mayUse: (address: string) => boolean,
  keep?: KeepRule,
): Promise<CacheShelf> {
  if (place.isMachine && !mayUse(place.address)) {
    throw fail('denied', 'cache', `this daemon's own credentials are not for ${place.address}`, {
      hint: `Give credentials (${
        place.kind === 's3' ? 'access_key_id= and secret_access_key=' : 'secret_access_key= or sas_token='
      }), or have the daemon's setting cache-bucket name ${place.address}.`,
    });
  }
  const { tries, adaptive } = place;
  const store = await openObjectStore(place.store, { tries, adaptive });
  if (keep === undefined) return new BucketShelf(place, store);
  const { BucketKeeping } = await import('../keeping/bucket.ts');
  return new BucketShelf(place, store, new BucketKeeping(store, place, keep));
}

class BucketShelf implements CacheShelf {
  readonly #place: BucketPlace;
  readonly #store: ObjectStore;
  readonly keeping: CacheShelf['keeping'];
  #hasSentLarge = false;

  constructor(place: BucketPlace, store: ObjectStore, keeping?: CacheShelf['keeping']) {
    this.#place = place;
    this.#store = store;
    this.keeping = keeping;
  }

  async configs({ signal }: { signal?: AbortSignal }): Promise<Buffer[]> {
    const found = await inParallel(this.#place.configs, async (key) => {
      try {
        const { size, stream } = await this.#store.get(key, { signal });
        if (size > maxCacheConfig) {
          stream.destroy();
          throw fail('exhausted', 'cache', `its config has ${size} bytes, more than ${maxCacheConfig}`);
        }
        return Buffer.concat(await stream.toArray());
      } catch (err) {
        if (troubleOf(err) === 'not-found') return undefined;
        throw err;
      }
    });
    return found.filter((each) => each !== undefined);
  }

  async has({ digest, size }: Blob, { signal }: Call): Promise<boolean> {
    return (await this.#store.head(this.#place.blob(digest), { signal }))?.size === size;
  }

  async keeps({ digest, size }: Blob, { signal }: Call): Promise<boolean> {
    const key = this.#place.blob(digest);
    const info = await this.#store.head(key, { signal });
    if (info?.size !== size) return false;
    if (Date.now() - info.modified > this.#place.touchMs) await this.#store.touch(key, { signal });
    return true;
  }

  async read(digest: Blob['digest'], { signal }: Call) {
    return (await this.#store.get(this.#place.blob(digest), { signal })).stream;
  }

  async put({ digest, size }: Blob, source: ObjectSource, call: PutCall): Promise<void> {
    this.#hasSentLarge ||= size > large;
    await this.#store.put(this.#place.blob(digest), source, { ...call, sameBytes: true });
  }

  async finish(config: Buffer, { signal }: Call): Promise<void> {
    await inParallel(this.#place.configs, (key) => this.#store.put(key, config, { signal }));
    if (!this.#hasSentLarge) return;
    // The cache is written; what is left over of others is not worth an error.
    await this.#store.abortLeftovers(this.#place.prefixes.blobs, oldUpload, { signal }).catch(() => 0);
  }

  close(): void {
    this.#store.close();
  }
}

type Blob = Parameters<CacheShelf['has']>[0];
type Call = Parameters<CacheShelf['has']>[1];
type PutCall = Parameters<CacheShelf['put']>[2];
