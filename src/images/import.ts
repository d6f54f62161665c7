/** `docker import`: makes an image of one layer from a tar of a file tree. */
import { danglingName, withLease } from '../distribution/index.ts';
import { throwIfAborted, toDrydockError } from '../errors/index.ts';
import {
  type ContainerConfig,
  type Descriptor,
  type Digest,
  type ImageConfig,
  type Manifest,
  mediaTypes,
  normalizeName,
  type Platform,
} from '../oci/index.ts';
import { contentRefLabels, type Store } from '../store/index.ts';
import { decompress, endOfArchive, TarParser } from '../tar/index.ts';
import { nameImage } from './name.ts';

interface ImportOptions {
  /** The image's name; without one the image is dangling. */
  name?: string;
  platform: Platform;
  config: ContainerConfig;
  /** The comment of its only history entry. */
  message: string;
  signal?: AbortSignal;
  /** Tells the bytes of the plain tar read so far. */
  onBytes?(bytes: number): void;
}

interface Imported {
  id: Digest;
  target: Descriptor;
}

/**
 * Makes an image of a tar, compressed or not, which becomes its layer unchanged. The source is read once and never held
 * in memory. Throws `corrupt` for an unsound tar, `exhausted`, `canceled`; nothing is kept then.
 */
export async function importTar(
  store: Store,
  source: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): Promise<Imported> {
  const name = options.name === undefined ? undefined : normalizeName(options.name);
  try {
    return await withLease(store, undefined, async (lease) => {
      const layer = await layerOf(store, source, lease, options);
      const created = new Date().toISOString();
      const config: ImageConfig = {
        created,
        ...options.platform,
        config: options.config,
        rootfs: { type: 'layers', diff_ids: [layer.digest] },
        history: [{ created, comment: options.message }],
      };
      const put = async (mediaType: string, value: object, labels?: Record<string, string>) => {
        const bytes = Buffer.from(JSON.stringify(value));
        return { mediaType, digest: await store.content.put(bytes, { lease, labels }), size: bytes.length };
      };
      const configDescriptor = await put(mediaTypes.ociConfig, config);
      const manifest: Manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: configDescriptor,
        layers: [layer],
      };
      const target = await put(mediaTypes.ociManifest, manifest, contentRefLabels([configDescriptor, layer]));
      throwIfAborted(options.signal);
      await nameImage(store, name ?? danglingName(target.digest), target);
      return { id: configDescriptor.digest, target };
    });
  } catch (err) {
    // Nobody needs the parts that were read of a bad tar.
    await store.gc().catch(() => {});
    throw err;
  }
}

async function layerOf(
  store: Store,
  source: AsyncIterable<Uint8Array>,
  lease: string,
  { signal, onBytes }: ImportOptions,
): Promise<Descriptor> {
  const parser = new TarParser({ entry() {}, data() {}, end() {} }, { hop: 'client' });
  const writer = await store.content.writer(`import-${crypto.randomUUID()}`, { lease });
  let bytes = 0;
  try {
    for await (const chunk of decompress(source, { hop: 'client' })) {
      throwIfAborted(signal);
      parser.push(chunk);
      await writer.write(chunk);
      bytes += chunk.length;
      onBytes?.(bytes);
    }
    if (bytes === 0) {
      // An empty input is an empty tree, as in docker.
      parser.push(endOfArchive);
      await writer.write(endOfArchive);
    }
    parser.finish();
    return { mediaType: mediaTypes.ociLayer, ...(await writer.commit()) };
  } catch (err) {
    await writer.abort().catch(() => {});
    throw toDrydockError(err, 'client');
  }
}
