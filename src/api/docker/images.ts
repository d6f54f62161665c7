/** The images of the store, as docker's API lists them. */
import { isDangling, recordsByTarget, type StoredImage, storedImages } from '../../distribution/index.ts';
import { Limiter } from '../../flow/index.ts';
import { toldNames } from '../../images/index.ts';
import { chainIds, type Descriptor, type Digest } from '../../oci/index.ts';
import type { ImageRecord, Store } from '../../store/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import type { EventImage } from '../shared/events.ts';

/** One image with all of its names. */
export interface ListedImage {
  id: Digest;
  image: StoredImage;
  /** The image for each platform of its target that is here, the host's first. */
  images: StoredImage[];
  target: Descriptor;
  records: ImageRecord[];
  /** `app:1` */
  tags: string[];
  /** `app@sha256:…` */
  digests: string[];
  dangling: boolean;
  /** When it was made, in ms since the epoch; 0 when the config does not say. */
  created: number;
  labels: Record<string, string>;
}

/**
 * Every image whose documents are all in content, newest first. Manifests of the same image on the same platforms give
 * one entry. An image of one platform and an image that has this platform among others are two entries with one ID.
 */
export async function listedImages(store: Store): Promise<ListedImage[]> {
  const byImages = new Map<string, ListedImage>();
  // A few at a time: what is done with each begins in turns, and not for all of them at once.
  const reading = new Limiter(16);
  const found = await Promise.all(
    (await recordsByTarget(store)).map((records) =>
      reading.run(async () => {
        const { name, target } = records[0];
        if (isDue()) await nextTurn();
        const images = await storedImages(store, name, target);
        return { records, target, images, ...(await toldNames(store, records, images)) };
      }),
    ),
  );
  for (const { records, target, images, tags, digests } of found) {
    if (isDue()) await nextTurn();
    const [image] = images;
    if (image === undefined) continue;
    const isLoose = records.every(({ name }) => isDangling(name));
    const key = images.map(({ id }) => id).join(' ');
    const same = byImages.get(key);
    if (same !== undefined) {
      same.records.push(...records);
      same.tags = [...new Set([...same.tags, ...tags])].sort();
      same.digests = [...new Set([...same.digests, ...digests])].sort();
      same.dangling &&= isLoose;
      continue;
    }
    const created = Date.parse(image.config.created ?? '');
    byImages.set(key, {
      id: image.id,
      image,
      images,
      target,
      records: [...records],
      tags,
      digests,
      dangling: isLoose,
      created: Number.isNaN(created) ? 0 : created,
      labels: image.config.config?.Labels ?? {},
    });
  }
  return [...byImages.values()].sort((a, b) => b.created - a.created || a.id.localeCompare(b.id));
}

/** The image as events name it. */
export function eventImage({ id, config }: StoredImage): EventImage {
  return { id, labels: config.config?.Labels ?? {} };
}

/** The bytes of each image that it shares with others in the list, and the bytes of all layers, each counted once. */
export async function layerSizes(
  store: Store,
  images: readonly ListedImage[],
): Promise<{ total: number; shared: Map<Digest, number>; size: Map<Digest, number> }> {
  const users = new Map<Digest, number>();
  const bytes = new Map<Digest, number>();
  const chains = new Map<Digest, Digest[]>();
  const size = new Map<Digest, number>();
  for (const { id, image } of images) {
    if (isDue()) await nextTurn();
    const own = chainIds(image.config.rootfs.diff_ids).slice(0, image.document.layers.length);
    for (const [i, layer] of image.document.layers.entries()) {
      const chain = own[i] as Digest;
      users.set(chain, (users.get(chain) ?? 0) + 1);
      if (bytes.has(chain)) continue;
      const snapshot = await store.snapshots.byChain(chain);
      bytes.set(
        chain,
        snapshot === undefined ? layer.size : (await store.snapshots.usage(snapshot.key)).size,
      );
    }
    chains.set(id, own);
    size.set(id, sum(own.map((chain) => bytes.get(chain) ?? 0)));
  }
  const shared = new Map<Digest, number>();
  for (const [id, own] of chains) {
    shared.set(
      id,
      sum(own.filter((chain) => (users.get(chain) ?? 0) > 1).map((chain) => bytes.get(chain) ?? 0)),
    );
  }
  return { total: sum([...bytes.values()]), shared, size };
}

function sum(list: readonly number[]): number {
  return list.reduce((total, n) => total + n, 0);
}
