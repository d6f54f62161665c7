/**
 * `keep=` and `max-size=` of a cache in the folder of a client that leaves the folder's upkeep to the builder, as buildctl
 * and docker buildx do. Such a client writes the folder's `index.json` after the build, and shows its blobs alone. So
 * each export's manifest says which name it is an export of and which exports came before it. What another manifest in
 * the folder names stays, be it another cache's or an image's.
 */
import { fail } from '../../errors/index.ts';
import { inParallel } from '../../flow/index.ts';
import { type Digest, digestOf, type Index, type Manifest } from '../../oci/index.ts';
import type { ClientContent, ContentUpkeep } from '../../session/index.ts';
import { smallBlob } from '../small-blob.ts';
import {
  exportOfAnnotation,
  howMany,
  type KeepRule,
  type KeptBlob,
  mostOlder,
  namedBy,
  olderAnnotation,
  olderIn,
} from './rule.ts';

/** The largest blob that may be a manifest, in bytes; readers of images take no larger one. */
const maxManifest = 8 << 20;
/** Blobs that are looked into at one time. */
const atOnce = 8;

/** A manifest or an index. */
interface Document {
  digest: Digest;
  bytes: Buffer;
  content: Partial<Manifest & Index>;
}

/** What is in the folder. */
interface Found {
  sizes: ReadonlyMap<Digest, number>;
  /** When each blob was written, in ms since the epoch. */
  times: ReadonlyMap<Digest, number>;
  documents: readonly Document[];
}

/** The upkeep of a client's folder. Throws `unsupported` when the client does not let the builder see to it. */
export function keepingIn(
  content: ClientContent,
  place: { folder: string; tag: string },
  rule: KeepRule,
  signal: AbortSignal,
): ClientFolderKeeping {
  const { upkeep } = content;
  if (upkeep !== undefined) return new ClientFolderKeeping(content, upkeep, place, rule, signal);
  throw fail(
    'unsupported',
    'cache',
    'cache-to type=local: this client lets nobody see to keep= and max-size= in its folder',
    { hint: 'The command `drydock build`, docker buildx and buildctl do.' },
  );
}

class ClientFolderKeeping {
  readonly #content: ClientContent;
  readonly #upkeep: ContentUpkeep;
  readonly #folder: string;
  /** The name of the cache in the folder. */
  readonly #name: string;
  readonly #rule: KeepRule;
  readonly #signal: AbortSignal;
  /** What was read, by digest; undefined for what is no document. */
  readonly #read = new Map<Digest, Document | undefined>();
  /** The exports of this name, newest first. */
  #exports: Digest[] = [];

  constructor(
    content: ClientContent,
    upkeep: ContentUpkeep,
    place: { folder: string; tag: string },
    rule: KeepRule,
    signal: AbortSignal,
  ) {
    this.#content = content;
    this.#upkeep = upkeep;
    this.#folder = place.folder;
    this.#name = place.tag;
    this.#rule = rule;
    this.#signal = signal;
  }

  /**
   * The bytes of the new manifest: `write` makes them with the annotations that tell of this export and of those before
   * it. A manifest that is there already, but for what is older than it, is written again as it is.
   */
  async document(write: (annotations: Record<string, string>) => Buffer): Promise<Buffer> {
    const older = this.#inOrder(await this.#look());
    const annotated = (digests: readonly Digest[]) =>
      write({
        [exportOfAnnotation]: this.#name,
        ...(digests.length === 0 ? {} : { [olderAnnotation]: digests.join(' ') }),
      });
    const [last] = older;
    const again = last && annotated(olderIn(last.content));
    const isSame = again !== undefined && last !== undefined && again.equals(last.bytes);
    const digests = older.map(({ digest }) => digest).slice(0, mostOlder);
    const bytes = isSame ? again : annotated(digests);
    const digest = digestOf(bytes);
    this.#exports = [digest, ...digests.filter((each) => each !== digest)];
    return bytes;
  }

  /**
   * Removes what only exports name that do not stay: the manifests last, so that whoever goes on after a crash finds out
   * again. Throws the client's errors.
   */
  async tidy(): Promise<void> {
    const { sizes, documents } = await this.#look();
    const named = new Map(documents.map((each) => [each.digest, namedBy(each.content)]));
    const blobsOf = (digest: Digest): KeptBlob[] =>
      (named.get(digest) ?? []).flatMap((blob) => {
        const size = sizes.get(blob.digest);
        return size === undefined ? [] : [{ digest: blob.digest, size }];
      });
    const overdue = new Set(this.#exports.slice(howMany(this.#exports.map(blobsOf), this.#rule)));
    const namedBesides = (gone: ReadonlySet<Digest>) =>
      new Set([...named].flatMap(([by, blobs]) => (gone.has(by) ? [] : blobs.map(({ digest }) => digest))));
    const gone = overdue.difference(namedBesides(overdue));
    const doomed = new Set([...gone].flatMap(blobsOf).map(({ digest }) => digest));
    const parts = doomed.difference(namedBesides(gone));
    await inParallel([...parts], (digest) => this.#upkeep.delete(digest), atOnce);
    await inParallel([...gone], (digest) => this.#upkeep.delete(digest), atOnce);
  }

  /**
   * The exports of this name, newest first: those that no other one has before it; then the others, as the newest tells
   * them. What a build has written that failed in the end is one of them.
   */
  #inOrder({ times, documents }: Found): Document[] {
    const own = new Map(
      documents
        .filter(({ content }) => content.annotations?.[exportOfAnnotation] === this.#name)
        .sort((a, b) => (times.get(b.digest) ?? 0) - (times.get(a.digest) ?? 0))
        .map((each) => [each.digest, each]),
    );
    const before = new Set([...own.values()].flatMap(({ content }) => olderIn(content)));
    const newest = [...own.values()].filter(({ digest }) => !before.has(digest));
    const order = [
      ...newest.map(({ digest }) => digest),
      ...newest.flatMap(({ content }) => olderIn(content)),
      ...own.keys(),
    ];
    return [...new Set(order)].flatMap((digest) => own.get(digest) ?? []);
  }

  async #look(): Promise<Found> {
    const sizes = new Map<Digest, number>();
    const times = new Map<Digest, number>();
    for await (const { digest, size, at } of this.#upkeep.list({ signal: this.#signal })) {
      sizes.set(digest, size);
      times.set(digest, at);
    }
    const small = [...sizes].filter(([digest, size]) => size <= maxManifest && !this.#read.has(digest));
    await inParallel(
      small,
      async ([digest]) => {
        const document = await this.#document(digest);
        this.#read.set(digest, document);
      },
      atOnce,
    );
    const documents = [...sizes.keys()].flatMap((digest) => this.#read.get(digest) ?? []);
    return { sizes, times, documents };
  }

  /** A blob as a manifest or an index; undefined for what is none. Throws the errors of reading: it may be one. */
  async #document(digest: Digest): Promise<Document | undefined> {
    const [first] = await (await this.#content.read(digest, { length: 1, signal: this.#signal })).toArray();
    if ((first as Buffer | undefined)?.[0] !== 0x7b) return undefined;
    const bytes = await smallBlob(this.#content, digest, this.#folder);
    try {
      const content = JSON.parse(bytes.toString('utf8')) as Document['content'];
      return namedBy(content).length === 0 ? undefined : { digest, bytes, content };
    } catch {
      return undefined;
    }
  }
}
