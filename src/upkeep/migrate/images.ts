/** Copies images from one store to another: names, documents, and layers as blobs. */
import {
  blobsOf,
  type StoredImage,
  storedAttestations,
  storedImage,
  storedImages,
} from '../../distribution/index.ts';
import { ensureLayer, nameImage, storedLayers } from '../../images/index.ts';
import { type Index, isIndexType } from '../../oci/index.ts';
import type { RegistryClient } from '../../registry/index.ts';
import { contentRefLabels, type ImageRecord } from '../../store/index.ts';
import { copyBlob, type MigrationEnds } from './blobs.ts';

/**
 * Copies one name. `moved`; `there`, when the same image has that name already; or `taken`, when another image has it,
 * which is left alone. Of an index, the platforms that are here are copied, with the attestations of them that are
 * here. A layer that is a snapshot only is packed; one that is nowhere here is fetched from where it came from.
 */
export async function migrateImage(
  route: MigrationEnds,
  registry: RegistryClient,
  record: ImageRecord,
): Promise<'moved' | 'there' | 'taken'> {
  const { from, to } = route;
  const old = await to.images.get(record.name);
  if (old !== undefined && old.target.digest !== record.target.digest) return 'taken';
  const images = await storedImages(from, record.name, record.target);
  // Says what is wrong when there is none.
  if (images.length === 0) await storedImage(from, record.name, record.target);
  const stated = await storedAttestations(from, record.name, record.target);
  const manifests = [
    ...images.map(({ manifest, document }) => ({ manifest, document })),
    ...stated.map(({ entry, document }) => ({ manifest: entry, document })),
  ];
  if (old !== undefined && (await isWhole(route, manifests))) return 'there';
  for (const image of images) await migrateOne(route, registry, image);
  for (const { entry, document } of stated) {
    for (const blob of blobsOf(document)) await copyBlob(route, blob);
    await copyBlob(route, entry, contentRefLabels(blobsOf(document)));
  }
  if (isIndexType(record.target.mediaType)) {
    const index = JSON.parse((await from.content.bytes(record.target.digest)).toString('utf8')) as Index;
    const here = new Set(manifests.map(({ manifest }) => manifest.digest));
    const children = index.manifests.filter(({ digest }) => here.has(digest));
    await copyBlob(route, record.target, contentRefLabels(children));
  }
  await nameImage(to, record.name, record.target, foreignLabels(record.labels));
  return 'moved';
}

/** The labels without containerd's own, which say nothing in another store. */
function foreignLabels(labels: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !name.startsWith('containerd.io/gc.')));
}

/** Whether all blobs of the manifests are there. */
async function isWhole(
  { to }: MigrationEnds,
  manifests: readonly Pick<StoredImage, 'manifest' | 'document'>[],
): Promise<boolean> {
  for (const { manifest, document } of manifests) {
    for (const { digest } of [manifest, document.config, ...document.layers]) {
      if ((await to.content.info(digest)) === undefined) return false;
    }
  }
  return true;
}

async function migrateOne(route: MigrationEnds, registry: RegistryClient, image: StoredImage): Promise<void> {
  const { from, leases, signal } = route;
  for (const layer of await storedLayers(from, image)) {
    if ((await route.to.content.info(layer.descriptor.digest)) === undefined) {
      await ensureLayer(from, registry, layer, { lease: leases.from, signal });
    }
    await copyBlob(route, layer.descriptor);
  }
  await copyBlob(route, image.document.config);
  await copyBlob(route, image.manifest, contentRefLabels([image.document.config, ...image.document.layers]));
}
