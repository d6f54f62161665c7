/**
 * Layers that containerd's snapshotter serves by itself (a remote snapshotter, as stargz): it is told where the layer
 * is, and fetches files when they are read.
 * https://github.com/containerd/containerd/blob/main/docs/remote-snapshotter.md
 */
import { randomUUID } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { chunkAnnotations, type Digest } from '../../oci/index.ts';
import type { RemoteLayer } from '../store.ts';
import { hasCode } from './errors.ts';
import type { ContainerdLeases } from './leases.ts';
import { type ContainerdParts, leaseName } from './shared.ts';
import type { SnapshotQueries } from './snapshot-queries.ts';

/** The snapshotters that serve layers, by the names under which containerd has them. */
export const remoteSnapshotters: ReadonlySet<string> = new Set(['stargz']);

/** containerd takes labels whose name and value have this many bytes at most. */
const longestLabel = 4096;

/**
 * Has the snapshotter serve a layer as the committed snapshot named by its chain ID, under the lease. Returns false when
 * it does not: then the layer is to be unpacked as any other. Leaves nothing behind in that case.
 */
export async function takeRemote(
  shared: ContainerdParts,
  { queries, leases }: { queries: SnapshotQueries; leases: ContainerdLeases },
  { chain, parent }: { chain: Digest; parent: string | undefined },
  layer: RemoteLayer,
  lease: string,
): Promise<boolean> {
  const { connection, snapshotter } = shared;
  const key = `remote-${randomUUID()}`;
  const labels = labelsOf(chain, layer);
  try {
    await connection.raw({ again: false, lease: leaseName(shared, lease) }, (call) =>
      connection.snapshots.prepare({ snapshotter, key, parent: parent ?? '', labels }, call),
    );
  } catch (err) {
    // It is there: the snapshotter has made it, or somebody else has.
    if (!hasCode(err, Code.AlreadyExists)) return false;
    if ((await queries.stat(chain))?.kind !== 'committed') return false;
    await leases.add(lease, { type: 'snapshot', id: chain });
    return true;
  }
  await connection.find(`removing the snapshot ${key}`, (call) =>
    connection.snapshots.remove({ snapshotter, key }, call),
  );
  return false;
}

/** The labels that tell a remote snapshotter of a layer: its own, and those of containerd's for all of them. */
function labelsOf(chain: Digest, { source, blob, above }: RemoteLayer): Record<string, string> {
  const own = 'containerd.io/snapshot/remote/stargz';
  const any = 'containerd.io/snapshot/cri';
  const [layersLabel, anyLayersLabel] = [`${own}.layers`, `${any}.image-layers`];
  const room = longestLabel - Math.max(layersLabel.length, anyLayersLabel.length);
  let layers: string = blob.digest;
  // Those that do not fit are only not fetched ahead.
  for (const digest of above) if (layers.length + 1 + digest.length <= room) layers += `,${digest}`;
  return {
    'containerd.io/snapshot.ref': chain,
    [`${own}.reference`]: source,
    [`${own}.digest`]: blob.digest,
    [layersLabel]: layers,
    [`${any}.image-ref`]: source,
    [`${any}.layer-digest`]: blob.digest,
    [anyLayersLabel]: layers,
    ...chunkAnnotations(blob),
  };
}
