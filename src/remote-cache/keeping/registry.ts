/**
 * `keep=` and `max-size=` of a cache in a registry. Each export's manifest names the manifests before it, as no registry
 * lists those without a tag. Older ones are deleted by their digests after the new one is there; the registry then
 * removes the layers that nothing else names, when it collects garbage.
 */
import { DrydockError, fail } from '../../errors/index.ts';
import { inParallel } from '../../flow/index.ts';
import { type CredentialSource, type Digest, digestOf, parseReference } from '../../oci/index.ts';
import type { RegistryClient } from '../../registry/index.ts';
import {
  howMany,
  type KeepRule,
  type KeptBlob,
  mostOlder,
  namedBy,
  olderAnnotation,
  olderIn,
} from './rule.ts';

/** The most other tags that are held against a manifest before it is deleted. */
const mostTags = 1000;

interface Call {
  signal?: AbortSignal;
  credentials: CredentialSource;
}

export class RegistryKeeping {
  readonly #registry: RegistryClient;
  readonly #call: Call;
  readonly #rule: KeepRule;
  /** The repository and the tag. */
  readonly #place: string;
  readonly #tag: string;
  /** The manifests that are there, newest first. */
  #exports: Digest[] = [];
  readonly #gone = new Set<Digest>();
  /** What each of them names, as far as it was read. */
  readonly #known = new Map<Digest, Promise<readonly KeptBlob[] | undefined>>();

  constructor(ref: string, rule: KeepRule, registry: RegistryClient, call: Call) {
    const { domain, path, tag = 'latest' } = parseReference(ref);
    this.#place = `${domain}/${path}`;
    this.#tag = tag;
    this.#rule = rule;
    this.#registry = registry;
    this.#call = call;
  }

  /**
   * The bytes of the manifest to push: `write` makes them with the annotations that tell of older ones. A manifest that is there
   * already, but for what is older than it, is written again as it is.
   */
  async document(write: (annotations: Record<string, string>) => Buffer): Promise<Buffer> {
    const annotated = (older: readonly Digest[]) =>
      write(older.length === 0 ? {} : { [olderAnnotation]: older.join(' ') });
    const current = await this.#read(`${this.#place}:${this.#tag}`);
    if (current === undefined) return this.#noted(annotated([]), []);
    const older = olderIn(JSON.parse(current.bytes.toString('utf8')));
    const again = annotated(older);
    if (again.equals(current.bytes)) return this.#noted(again, older);
    const exports = [current.digest, ...older];
    // What should have gone before, but was refused then, or was deleted and is still named.
    await this.#delete(await this.#overdue(exports)).catch(() => {});
    const left = exports.filter((digest) => !this.#gone.has(digest)).slice(0, mostOlder);
    return this.#noted(annotated(left), left);
  }

  /** Deletes the exports that do not stay, after the new one was pushed. Throws the registry's errors. */
  async tidy(): Promise<void> {
    await this.#delete(await this.#overdue(this.#exports));
  }

  #noted(bytes: Buffer, older: readonly Digest[]): Buffer {
    const digest = digestOf(bytes);
    this.#known.set(digest, Promise.resolve(blobsOf(bytes)));
    this.#exports = [digest, ...older.filter((each) => each !== digest)];
    return bytes;
  }

  async #overdue(exports: readonly Digest[]): Promise<Digest[]> {
    const { bytes, count } = this.#rule;
    if (bytes === undefined) return exports.slice(count);
    const sizes = await inParallel(
      exports.slice(0, count),
      async (digest) => (await this.#blobs(digest)) ?? [],
    );
    return exports.slice(howMany(sizes, this.#rule));
  }

  #blobs(digest: Digest): Promise<readonly KeptBlob[] | undefined> {
    let known = this.#known.get(digest);
    if (known === undefined) {
      known = this.#read(`${this.#place}@${digest}`).then((found) => found && blobsOf(found.bytes));
      this.#known.set(digest, known);
    }
    return known;
  }

  /**
   * Deletes manifests, and notes those that are not there any more. What another tag names stays, and is not this
   * cache's any more. Throws the registry's errors.
   */
  async #delete(digests: readonly Digest[]): Promise<void> {
    if (digests.length === 0) return;
    const tagged = await this.#tagged();
    for (const digest of digests) {
      if (!tagged.has(digest)) await this.#registry.deleteManifest(`${this.#place}@${digest}`, this.#call);
      this.#gone.add(digest);
    }
  }

  /** What the repository's other tags name. */
  async #tagged(): Promise<Set<Digest>> {
    const tags = await this.#registry.tags(this.#place, this.#call);
    const others = tags.filter((tag) => tag !== this.#tag);
    if (others.length > mostTags) {
      throw fail('exhausted', 'cache', `${this.#place} has more than ${mostTags} tags`, {
        hint: 'Deleting a manifest takes its tags with it. Give the cache a repository to itself.',
      });
    }
    const named = await inParallel(others, async (tag) => {
      const found = await orAbsent(this.#registry.resolve(`${this.#place}:${tag}`, this.#call));
      return found?.digest;
    });
    return new Set(named.filter((digest) => digest !== undefined));
  }

  async #read(ref: string): Promise<{ digest: Digest; bytes: Buffer } | undefined> {
    const found = await orAbsent(this.#registry.manifest(ref, this.#call));
    return found && { digest: found.descriptor.digest, bytes: found.bytes };
  }
}

async function orAbsent<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (err) {
    if (err instanceof DrydockError && err.code === 'not-found') return undefined;
    throw err;
  }
}

function blobsOf(bytes: Buffer): KeptBlob[] {
  return namedBy(JSON.parse(bytes.toString('utf8')));
}
