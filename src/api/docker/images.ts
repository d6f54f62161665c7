/** What docker's API tells of images beside their list: what they share, and how events name them. */
import type { StoredImage } from '../../distribution/index.ts';
import type { ListedImage } from '../../images/index.ts';
import { chainIds, type Digest } from '../../oci/index.ts';
import type { Store } from '../../store/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import type { EventImage } from '../shared/events.ts';

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
