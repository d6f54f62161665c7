/** A cache in GitHub's cache of Actions, under BuildKit's keys. */
import { createHash } from 'node:crypto';
import { fail } from '../../errors/index.ts';
import { inParallel, pause } from '../../flow/index.ts';
import {
  ActionsCache,
  type ActionsEntry,
  type ActionsScope,
  readActionsToken,
} from '../../object-store/index.ts';
import type { Digest } from '../../oci/index.ts';
import { maxCacheConfig } from '../format/config.ts';
import { listedKeys } from './gha-list.ts';
import type { GhaPlace } from './gha-place.ts';
import type { CacheShelf } from './shelf.ts';

/** What the keys of layers begin with. */
const blobPrefix = 'buildkit-blob-1-';
/** How long another writer of the same index is waited for, ms, and how often it is looked at. */
const patience = 15_000;
const look = 2000;

/** Opens it. Throws trouble `forbidden` for a token that is good for nothing. */
export function ghaShelf(place: GhaPlace): CacheShelf {
  const { scopes, end } = readActionsToken(place.token);
  return new GhaShelf(place, scopes, end);
}

class GhaShelf implements CacheShelf {
  readonly #place: GhaPlace;
  readonly #scopes: readonly ActionsScope[];
  readonly #cache: ActionsCache;
  readonly #found = new Map<Digest, Promise<ActionsEntry | undefined>>();
  #listed: Promise<ReadonlySet<string> | undefined> | undefined;

  constructor(place: GhaPlace, scopes: readonly ActionsScope[], tokenEnd: number) {
    this.#place = place;
    this.#scopes = scopes;
    this.#cache = new ActionsCache({ ...place, tokenEnd });
  }

  async configs({ signal }: Call): Promise<Buffer[]> {
    // The job's own branch first, then those that it may read.
    const found = await inParallel(this.#scopes, async ({ scope }) => {
      const entry = await this.#cache.find(`${this.#indexKey(scope)}#`, { signal });
      if (entry === undefined) return undefined;
      const { size, stream } = await this.#cache.read(entry, { signal });
      if (size <= maxCacheConfig) return Buffer.concat(await stream.toArray());
      stream.destroy();
      throw fail('exhausted', 'cache', `its config has ${size} bytes, more than ${maxCacheConfig}`);
    });
    return found.filter((each) => each !== undefined);
  }

  async has({ digest }: Blob, { signal }: Call): Promise<boolean> {
    return (await this.#find(digest, signal)) !== undefined;
  }

  async keeps(blob: Blob, call: Call): Promise<boolean> {
    const { list } = this.#place;
    this.#listed ??=
      list === undefined
        ? Promise.resolve(undefined)
        : listedKeys(list, this.#scopes, blobPrefix, call.signal);
    const listed = await this.#listed;
    return listed?.has(blobPrefix + blob.digest) ?? (await this.has(blob, call));
  }

  async read(digest: Digest, { signal }: Call) {
    const entry = await this.#find(digest, signal);
    if (entry === undefined)
      throw fail('not-found', 'cache', `the layer ${digest} is not in the Actions cache`);
    return (await this.#cache.read(entry, { signal })).stream;
  }

  async put({ digest }: Blob, source: PutSource, call: PutCall): Promise<void> {
    // One that somebody writes just now will be there.
    await this.#cache.save(blobPrefix + digest, source, call);
  }

  /** Entries are written once: a new index has the next number. */
  async finish(config: Buffer, { signal }: Call): Promise<void> {
    const own = this.#scopes.findLast(({ canWrite }) => canWrite);
    if (own === undefined) {
      throw fail('denied', 'cache', 'the token may only read the Actions cache', {
        hint: 'Jobs of pull requests from forks may not write: give ignore-error=true, or no --cache-to there.',
      });
    }
    const key = `${this.#indexKey(own.scope)}#`;
    for (let waited = 0, above = 0; ; ) {
      const newest = await this.#cache.find(key, { signal });
      const number = newest === undefined ? 0 : Number(newest.key.slice(key.length));
      above = Math.max(above, Number.isSafeInteger(number) ? number : 0);
      if (await this.#cache.save(`${key}${above + 1}`, config, { signal })) return;
      if (waited >= patience) above++;
      else {
        await pause(look, signal);
        waited += look;
      }
    }
  }

  close(): void {
    this.#cache.close();
  }

  #find(digest: Digest, signal: AbortSignal | undefined): Promise<ActionsEntry | undefined> {
    const known = this.#found.get(digest);
    if (known !== undefined) return known;
    const key = blobPrefix + digest;
    const asked = this.#cache.find(key, { signal }).then((entry) => (entry?.key === key ? entry : undefined));
    this.#found.set(digest, asked);
    asked.catch(() => this.#found.delete(digest));
    return asked;
  }

  #indexKey(scope: string): string {
    const short = createHash('sha256').update(scope).digest('hex').slice(0, 8);
    return `index-${this.#place.scope}-1-${short}`;
  }
}

type Blob = Parameters<CacheShelf['has']>[0];
type Call = Parameters<CacheShelf['has']>[1];
type PutSource = Parameters<CacheShelf['put']>[1];
type PutCall = Parameters<CacheShelf['put']>[2];
