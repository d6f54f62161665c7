/** An image of one layer from a root filesystem's tar, as `docker import` makes it. */
import { throwIfAborted } from '../errors/error.ts';
import { hostPlatform, normalizePlatform } from '../oci/platform.ts';
import {
  type Descriptor,
  type Digest,
  type ImageConfig,
  type Manifest,
  mediaTypes,
  type Platform,
} from '../oci/types.ts';
import { contentRefLabels } from '../store/labels.ts';
import type { Store } from '../store/store.ts';
import { decompress } from '../tar/decompress.ts';
import { TarParser } from '../tar/parser.ts';
import { danglingName, withLease } from './stored.ts';

export interface ImportOptions {
  /** Normalized; without one the image is dangling. */
  name?: string;
  platform?: Platform;
  /** The history's comment. */
  message?: string;
  signal?: AbortSignal;
}

/**
 * Takes a tar, plain or compressed, as the only layer of a new image. It is read once and goes to content as it comes.
 * Throws `corrupt` for what is no tar, `exhausted`, `canceled`; nothing stays then.
 */
export async function importImage(
  store: Store,
  source: AsyncIterable<Uint8Array>,
  options: ImportOptions = {},
): Promise<{ id: Digest; target: Descriptor }> {
  return withLease(store, undefined, async (lease) => {
    const layer = await putLayer(store, source, lease, options.signal);
    const created = new Date().toISOString();
    const { os, architecture, variant } = normalizePlatform(options.platform ?? hostPlatform());
    const config: ImageConfig = {
      created,
      architecture,
      os,
      ...(variant === undefined ? {} : { variant }),
      config: {},
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
      history: [{ created, comment: options.message || 'Imported from -' }],
    };
    const bytes = Buffer.from(JSON.stringify(config));
    const configDescriptor: Descriptor = {
      mediaType: mediaTypes.ociConfig,
      digest: await store.content.put(bytes, { lease }),
      size: bytes.length,
    };
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: configDescriptor,
      layers: [layer],
    };
    const text = Buffer.from(JSON.stringify(manifest, undefined, 2));
    const labels = contentRefLabels([configDescriptor, layer]);
    const target: Descriptor = {
      mediaType: mediaTypes.ociManifest,
      digest: await store.content.put(text, { lease, labels }),
      size: text.length,
    };
    await store.images.put(options.name ?? danglingName(target.digest), target);
    return { id: configDescriptor.digest, target };
  });
}

async function putLayer(
  store: Store,
  source: AsyncIterable<Uint8Array>,
  lease: string,
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  // Only looked through: what is no archive is refused now and not when somebody unpacks it.
  const parser = new TarParser({ entry() {}, data() {}, end() {} }, { hop: 'client' });
  const writer = await store.content.writer(`import-${crypto.randomUUID()}`, { lease });
  try {
    for await (const chunk of decompress(source, { hop: 'client' })) {
      throwIfAborted(signal);
      parser.push(chunk);
      await writer.write(chunk);
    }
    parser.finish();
    const { digest, size } = await writer.commit();
    return { mediaType: mediaTypes.ociLayer, digest, size };
  } catch (err) {
    await writer.abort();
    throw err;
  }
}
