/** The places that the blobs of an exported cache go to. */
import type { CacheLayer, ExportContext } from '../exporter/index.ts';
import { type Descriptor, parseReference } from '../oci/index.ts';
import type { ClientContent } from '../session/index.ts';
import type { KeepRule, KeptBlob } from './keeping/rule.ts';

/** The blobs of a place. */
export interface BlobTarget {
  /** Must be told, before the first layer, what the cache will consist of. Without it, layers may come at once. */
  announce?(blobs: readonly KeptBlob[]): Promise<void>;
  /** Whether a layer is there. */
  has(layer: Descriptor): Promise<boolean>;
  layer(layer: Pick<CacheLayer, 'descriptor' | 'from' | 'bring'>): Promise<void>;
  /** Takes a config. */
  document(blob: Descriptor, bytes: Buffer): Promise<void>;
  /** Removes what older exports alone need, as the rule of `keep=` has it. It is called last. */
  tidy?(): Promise<void>;
}

/** The place of a cache that is being written. The layers come first, then the config, and the manifest last. */
export interface CacheTarget extends BlobTarget {
  /** Chooses the bytes of the last document: `write` makes them with the annotations that tell of older exports. */
  lastDocument?(write: (annotations: Record<string, string>) => Buffer): Promise<Buffer>;
  /** Takes the last document, by which the cache is known. */
  manifest(manifest: Descriptor, bytes: Buffer): Promise<void>;
}

/** A place that has no manifests: the config says all, and comes last. */
export interface BareTarget extends BlobTarget {
  /** Takes the config, and what the cache consists of besides it. */
  bare(config: Buffer, blobs: readonly KeptBlob[]): Promise<void>;
}

/** A repository. A layer that is there is neither fetched nor sent; a layer of another repository is mounted. */
export async function registryTarget(
  ref: string,
  ctx: ExportContext,
  keep: KeepRule | undefined,
): Promise<CacheTarget> {
  const { store, registry, session, signal, progress } = ctx;
  const common = { signal, credentials: (host: string) => session.credentials(host) };
  const keeping =
    keep && new (await import('./keeping/registry.ts')).RegistryKeeping(ref, keep, registry, common);
  return {
    ...(keeping && { lastDocument: (write) => keeping.document(write), tidy: () => keeping.tidy() }),
    has: ({ digest }) => registry.hasBlob(ref, digest, { ...common, push: true }),
    async layer({ descriptor, from, bring }) {
      const { digest, size } = descriptor;
      const open = async () => {
        await bring();
        return store.content.read(digest);
      };
      await registry.pushBlob(ref, descriptor, open, {
        ...common,
        mountFrom: from,
        onProgress: (sent) => progress.report(digest, { current: sent, total: size, done: sent === size }),
      });
    },
    async document(blob, bytes) {
      await registry.pushBlob(ref, blob, async () => bytes, common);
    },
    async manifest(manifest, bytes) {
      const { domain, path, tag } = parseReference(ref);
      const name = tag === undefined ? ref : `${domain}/${path}:${tag}`;
      await registry.pushManifest(name, manifest, bytes, common);
    },
  };
}

/** A client's folder. The client checks the blobs. Throws `unsupported` for a rule that the client does not let obey. */
export async function clientTarget(
  content: ClientContent,
  { folder, tag = 'latest' }: { folder: string; tag?: string },
  { store, signal }: ExportContext,
  keep: KeepRule | undefined,
): Promise<CacheTarget> {
  const keeping =
    keep && (await import('./keeping/client-folder.ts')).keepingIn(content, { folder, tag }, keep, signal);
  const small = async (blob: Descriptor, bytes: Buffer) => {
    await content.write(blob, chunks(bytes), { signal });
  };
  return {
    ...(keeping && { lastDocument: (write) => keeping.document(write), tidy: () => keeping.tidy() }),
    has: async ({ digest, size }) => (await content.size(digest)) === size,
    async layer({ descriptor, bring }) {
      if ((await content.size(descriptor.digest)) === descriptor.size) return;
      await bring();
      await content.write(descriptor, await store.content.read(descriptor.digest), { signal });
    },
    document: small,
    manifest: small,
  };
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
