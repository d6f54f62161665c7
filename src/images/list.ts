/** `drydock images`. */
import { chainId } from '../oci/digest.ts';
import { formatPlatform } from '../oci/platform.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import type { Digest } from '../oci/types.ts';
import type { Store } from '../store/store.ts';
import { isDangling, type StoredImage, storedImages } from './stored.ts';

export interface ImageSummary {
  /** Config digest. */
  id: Digest;
  /** As people write them: `app:1`. Empty for a dangling image. */
  names: string[];
  /** `app@sha256:…` */
  digests: string[];
  /** Digest of the manifest or index that the names point to. */
  target: Digest;
  /** Bytes of the layers' files; for layers that are not unpacked, of their blobs. */
  size: number;
  /** ms since the epoch; undefined when the config does not say */
  created?: number;
  /** The platforms that are here. */
  platforms: string[];
  /** No name is left. */
  dangling: boolean;
}

/** Every image, newest first. One whose documents are not all in content is left out. */
export async function listImages(store: Store): Promise<ImageSummary[]> {
  const byTarget = new Map<Digest, { name: string[]; mediaType: string; size: number }>();
  for (const { name, target } of await store.images.list()) {
    const entry = byTarget.get(target.digest);
    if (entry === undefined)
      byTarget.set(target.digest, { name: [name], mediaType: target.mediaType, size: target.size });
    else entry.name.push(name);
  }
  const summaries: ImageSummary[] = [];
  for (const [digest, { name, mediaType, size }] of byTarget) {
    const images = await storedImages(store, name[0] as string, { digest, mediaType, size });
    const [image] = images;
    if (image === undefined) continue;
    const created = Date.parse(image.config.created ?? '');
    const named = name.filter((text) => !isDangling(text));
    summaries.push({
      id: image.id,
      names: named
        .filter((text) => parseReference(text).tag !== undefined)
        .map(familiarName)
        .sort(),
      digests: [...new Set(named.map((text) => repoDigest(text, digest)))].sort(),
      target: digest,
      size: await imageSize(store, image),
      created: Number.isNaN(created) ? undefined : created,
      platforms: images.map(({ config }) => formatPlatform(config)),
      dangling: named.length === 0,
    });
  }
  return summaries.sort((a, b) => (b.created ?? 0) - (a.created ?? 0) || a.id.localeCompare(b.id));
}

/** `app@sha256:…` for a name that points to a digest. */
export function repoDigest(name: string, digest: Digest): string {
  const { domain, path } = parseReference(name);
  return `${familiarName(`${domain}/${path}`)}@${digest}`;
}

/** Bytes of an image's layers: of their files where they are unpacked, else of their blobs. */
export async function imageSize(store: Store, image: StoredImage): Promise<number> {
  const diffIds = image.config.rootfs.diff_ids;
  let total = 0;
  for (const [i, layer] of image.document.layers.entries()) {
    const chain = chainId(diffIds.slice(0, i + 1));
    const snapshot = chain === undefined ? undefined : await store.snapshots.byChain(chain);
    total += snapshot === undefined ? layer.size : (await store.snapshots.usage(snapshot.key)).size;
  }
  return total;
}
