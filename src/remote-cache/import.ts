/** Reads the caches that a build names. A cache that cannot be read is a warning, and the build goes on without it. */
import { registryDocuments, storeDocuments } from '../distribution/index.ts';
import { DrydockError, fail, maskUrls, offline } from '../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  familiarName,
  isIndexType,
  isManifestType,
  mediaTypes,
} from '../oci/index.ts';
import type { VertexProgress } from '../progress/index.ts';
import type { Refs } from '../refs/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { ForeignCache, ForeignMount, Job } from '../solver/index.ts';
import type { Store } from '../store/index.ts';
import { type ImportWant, parseImport, placeText, restoresMounts, type ShelfPlace } from './attrs.ts';
import { clientBlobs } from './client-blobs.ts';
import { type CacheContents, readBareConfig, readCache } from './manifest.ts';
import { type CacheBlobs, ReadCache } from './read-cache.ts';
import { registryBlobs } from './registry-blobs.ts';
import { openShelf } from './shelf/open.ts';
import { smallBlob } from './small-blob.ts';
import type { CacheSpec } from './types.ts';

/** A client of a registry, and refs that fetch with it. */
export interface CacheRegistry {
  registry: RegistryClient;
  refs: Refs;
}

interface ImportDeps {
  store: Store;
  job: Job;
  /** The lease that keeps the documents that are read. */
  lease: string;
  /**
   * A registry client and its refs. `insecure`: they talk to the host of this reference without TLS, or with any
   * certificate.
   */
  registryFor(ref: string, insecure: boolean): CacheRegistry;
  /** Puts cache mounts in the place of those that are here. */
  restoreMounts(mounts: readonly ForeignMount[], progress: VertexProgress): Promise<void>;
  /** Whether this machine's own credentials are for a bucket. */
  mayUse(bucket: string): boolean;
  /** Calls this when the build is over. */
  atEnd(close: () => void): void;
}

/** The most caches that one build reads: each is fetched at once, and all are looked into for every step. */
const maxImports = 256;

/**
 * Starts to read caches. The build's vertices are looked up in them as soon as they are read. A cache that the build
 * has begun to read already is not read again. Throws `invalid` for more caches than a build may read. Returns what
 * to wait for before the build's steps, where cache mounts are to be brought back first; it rejects when they are not.
 */
export function importCaches(specs: readonly CacheSpec[], deps: ImportDeps): Promise<unknown> | undefined {
  const { job } = deps;
  const fresh = new Map<string, CacheSpec>();
  for (const spec of specs) {
    const key = JSON.stringify([spec.type, Object.entries(spec.attrs).sort()]);
    if (!job.hasImport(key)) fresh.set(key, spec);
  }
  if (job.importCount + fresh.size > maxImports) {
    throw fail('invalid', 'cache', `the build names more than ${maxImports} caches to import`, {
      hint: 'Name fewer with --cache-from: those that builds like this one have written.',
    });
  }
  const restoring: Promise<unknown>[] = [];
  for (const [key, spec] of fresh) {
    const reading = importOne(spec, deps);
    job.addImport(key, reading);
    if (!restoresMounts(spec)) continue;
    // Told by whoever waits for all of them.
    reading.catch(() => {});
    restoring.push(reading);
  }
  return restoring.length === 0 ? undefined : Promise.all(restoring);
}

async function importOne(spec: CacheSpec, deps: ImportDeps): Promise<readonly ForeignCache[]> {
  const { job } = deps;
  const name = nameOf(spec);
  try {
    return await job.inVertex(`importing cache manifest from ${name}`, async (progress) => {
      try {
        const want = parseImport(spec);
        // An image of the store may hold one that a registry is named for.
        if (job.session.offline && want.type !== 'local' && want.type !== 'registry')
          throw offline('cache', 'its place is not asked');
        const { contents, blobs } =
          want.type === 'local'
            ? await fromClient(want, deps)
            : want.type === 'registry'
              ? await fromImage(want, deps)
              : await fromShelf(want, deps);
        const mounts = { target: placeText(want), choice: want.mounts };
        const caches = contents.map((each) => new ReadCache(deps.store, want.name, each, blobs, mounts));
        if (want.restoreMounts)
          await deps.restoreMounts(
            caches.flatMap((cache) => cache.mounts),
            progress,
          );
        return caches;
      } catch (err) {
        if (!(err instanceof DrydockError) || err.code === 'canceled' || restoresMounts(spec)) throw err;
        progress.warn({ level: 1, short: refusal(name, err), detail: [remedy(err)] });
        throw err;
      }
    });
  } catch (err) {
    job.about.failedImports.push(name);
    if (restoresMounts(spec)) throw err;
    // Told above; a build that was cancelled ends by itself.
    return [];
  }
}

/** The name that progress shows, whatever is wrong with the spec. */
function nameOf(spec: CacheSpec): string {
  try {
    return parseImport(spec).name;
  } catch {
    return maskUrls(spec.attrs.ref ?? spec.attrs.src ?? `type=${spec.type}`);
  }
}

function refusal(name: string, err: DrydockError): string {
  // The registry client says which reference it was resolving; that is said already.
  const why = err.message.replace(/^resolving \S+: /, '');
  return `importing cache from ${name}: ${maskUrls(why)}; the build goes on without it`;
}

function remedy(err: DrydockError): string {
  if (err.code === 'denied' || err.code === 'unauthenticated') {
    return `${err.hint ?? 'Log in.'} Or drop --cache-from.`;
  }
  if (err.code === 'not-found')
    return 'It is made by the first build with --cache-to; until then, drop --cache-from.';
  return err.hint === undefined
    ? 'Drop --cache-from, or mend what it names.'
    : `${err.hint} Or drop --cache-from.`;
}

interface FoundCache {
  contents: CacheContents[];
  blobs: CacheBlobs;
}

/** A cache of its own in a registry, or one inside an image, which may be in the store. */
async function fromImage(want: ImportWant & { type: 'registry' }, deps: ImportDeps): Promise<FoundCache> {
  const { store, job, lease } = deps;
  const { registry, refs } = deps.registryFor(want.ref, want.insecure);
  const blobs = registryBlobs(store, registry, refs, want.ref);
  const stored = await inStore(want.ref, store);
  if (stored !== undefined) return { contents: stored, blobs };
  if (job.session.offline) throw offline('cache', 'its registry is not asked');
  const ctx = { lease, signal: job.signal, credentials: (host: string) => job.session.credentials(host) };
  const { descriptor, bytes } = await registry.manifest(want.ref, ctx);
  const documents = registryDocuments(store, registry, want.ref, ctx);
  const contents = await readCache(descriptor, bytes, (child) => documents.bytes(child));
  if (contents.length === 0) {
    throw fail('not-found', 'cache', `${familiarName(want.ref)} is an image without a cache in it`, {
      hint: 'Build it with --cache-to type=inline (or --build-arg BUILDKIT_INLINE_CACHE=1).',
    });
  }
  return { contents, blobs };
}

/** The caches inside an image of the store; undefined when there is no such image, or none in it. */
async function inStore(ref: string, store: Store): Promise<CacheContents[] | undefined> {
  const image = await store.images.get(ref);
  if (image === undefined) return undefined;
  try {
    const documents = storeDocuments(store, familiarName(ref));
    const read = (child: Descriptor) => documents.bytes(child);
    const contents = await readCache(image.target, await read(image.target), read);
    return contents.length === 0 ? undefined : contents;
  } catch (err) {
    // Of an image for several platforms, not all may be here.
    if (err instanceof DrydockError && err.code === 'not-found') return undefined;
    throw err;
  }
}

async function fromClient(want: ImportWant & { type: 'local' }, deps: ImportDeps): Promise<FoundCache> {
  const { store, job } = deps;
  const content = await job.session.content?.(`local:${want.folder}`);
  if (content === undefined) {
    throw fail('not-found', 'session', `the client offers no folder ${want.folder}`, {
      hint: 'A local cache needs a session that serves it, as docker buildx, buildctl and drydock have.',
    });
  }
  const read = ({ digest }: Pick<Descriptor, 'digest'>) => smallBlob(content, digest, want.folder);
  const target = want.digest as Digest;
  const bytes = await read({ digest: target });
  const descriptor = { mediaType: mediaTypeOf(bytes), digest: target, size: bytes.length };
  const contents = await readCache(descriptor, bytes, read);
  const { refs } = deps.registryFor('', false);
  return { contents, blobs: clientBlobs(store, refs, content) };
}

async function fromShelf(place: ShelfPlace, deps: ImportDeps): Promise<FoundCache> {
  const { store, job } = deps;
  const { signal } = job;
  const shelf = await openShelf(place, deps.mayUse);
  deps.atEnd(() => shelf.close());
  const configs = await shelf.configs({ signal });
  if (configs.length === 0) throw fail('not-found', 'cache', 'there is no cache of this name');
  const { refs } = deps.registryFor('', false);
  const read = ({ digest }: Pick<Descriptor, 'digest'>) =>
    smallBlob({ size: async () => 0, read: (each, call = {}) => shelf.read(each, call) }, digest, place.type);
  const asked = new Map<Digest, Promise<boolean>>();
  const blobs = clientBlobs(store, refs, {
    size: async () => undefined,
    read: (digest, call = {}) => shelf.read(digest, call),
  });
  return {
    contents: await Promise.all(configs.map((config) => readBareConfig(config, read))),
    blobs: {
      ...blobs,
      async has({ descriptor }) {
        if ((await store.content.info(descriptor.digest)) !== undefined) return true;
        let answer = asked.get(descriptor.digest);
        if (answer === undefined) {
          answer = shelf.has(descriptor, { signal });
          answer.catch(() => asked.delete(descriptor.digest));
          asked.set(descriptor.digest, answer);
        }
        return answer;
      },
    },
  };
}

function mediaTypeOf(bytes: Buffer): string {
  try {
    const document = JSON.parse(bytes.toString('utf8')) as {
      mediaType?: unknown;
      manifests?: unknown;
    } | null;
    const { mediaType } = document ?? {};
    if (typeof mediaType === 'string' && (isIndexType(mediaType) || isManifestType(mediaType)))
      return mediaType;
    return Array.isArray(document?.manifests) ? mediaTypes.ociIndex : mediaTypes.ociManifest;
  } catch (cause) {
    throw fail('corrupt', 'cache', `${digestOf(bytes)} is not the manifest of a cache`, { cause });
  }
}
