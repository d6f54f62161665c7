/** The lowest layers of an image archive that the store has already: nothing of them is taken out of the archive. */
import { chainIds, type Descriptor, type Digest } from '../oci/index.ts';
import { hold, holdChain, type Store, snapshotRefLabel } from '../store/index.ts';
import { listedImages } from './listed.ts';

/** Layers that are here, and held by a lease. */
export interface KnownLayers {
  /** What a layer is here, by the digest that it has in the archive. */
  readonly layers: ReadonlyMap<Digest, Descriptor>;
  /** The labels for the config of an image that stands on these layers: they keep the layers' snapshots. */
  readonly labels: Record<string, string>;
}

export const noKnownLayers: KnownLayers = { layers: new Map(), labels: {} };

/**
 * Finds those of an image's lowest layers that are here, as blobs or as snapshots, and puts them under the lease.
 * `diffIds` are all of the image's layers. `inArchive` says which digest such a layer has in the archive: that of its
 * uncompressed tar (`diff-id`), or the one that it has here (`same`), as an archive with compressed layers may have it.
 */
export async function knownLayers(
  store: Store,
  diffIds: readonly Digest[],
  lease: string,
  inArchive: 'diff-id' | 'same',
): Promise<KnownLayers> {
  let best: readonly Descriptor[] = [];
  for (const { image } of await listedImages(store)) {
    const own = image.config.rootfs.diff_ids;
    let same = 0;
    while (same < own.length && own[same] === diffIds[same]) same++;
    if (same > best.length) best = image.document.layers.slice(0, same);
  }
  const chains = chainIds(diffIds);
  const here: [Digest, Descriptor][] = [];
  let top: string | undefined;
  for (const [i, descriptor] of best.entries()) {
    const snapshot = await holdChain(store, lease, chains[i]);
    if (snapshot === undefined && !(await hold(store, lease, { type: 'blob', id: descriptor.digest }))) break;
    top = snapshot ?? top;
    here.push([inArchive === 'same' ? descriptor.digest : (diffIds[i] as Digest), descriptor]);
  }
  // The same layer once more, higher up, has no snapshot there.
  const above = new Set(diffIds.slice(here.length));
  return {
    layers: new Map(here.filter((_, i) => !above.has(diffIds[i] as Digest))),
    labels: top === undefined ? {} : snapshotRefLabel(store.snapshotter, top),
  };
}
