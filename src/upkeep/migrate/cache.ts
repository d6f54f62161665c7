/** Copies cache records from one store to another, with the snapshots that are their results. */
import type { Cache, CacheEntry } from '../../cache/index.ts';
import { originLabels, originOf } from '../../distribution/index.ts';
import { DrydockError, throwIfAborted } from '../../errors/index.ts';
import { packSnapshot, unpackLayer } from '../../layer/index.ts';
import { chainId, type Descriptor, parseReference } from '../../oci/index.ts';
import { recordLease } from '../../solver/index.ts';
import {
  hold,
  type SerializedRef,
  type SnapshotInfo,
  snapshotKeys,
  snapshotLabels,
  unlessThere,
} from '../../store/index.ts';
import { copyBlob, type MigrationEnds } from './blobs.ts';

/**
 * Copies one record. `moved`; `there`, when it is there already; or `left`, when its files are not all here any more,
 * or are an image that only this store knew. The identity of a record is copied in any case, as others are keyed by it.
 */
export async function migrateRecord(
  route: MigrationEnds,
  to: Cache,
  { record, keys }: CacheEntry,
): Promise<'moved' | 'there' | 'left'> {
  if (to.byId(record.id)?.results !== undefined) {
    for (const { key, parts } of keys) to.alias(key, record.id, parts);
    return 'there';
  }
  let results = record.results;
  if (results !== undefined) {
    for (const result of results) {
      if (await bring(route, result)) continue;
      results = undefined;
      break;
    }
  }
  to.save({ ...record, results, size: results === undefined ? 0 : record.size }, keys);
  const snapshots = new Set((results ?? []).flatMap(snapshotKeys));
  if (snapshots.size > 0) {
    const holds = [...snapshots].map((id) => ({ type: 'snapshot' as const, id }));
    await route.to.leases.create(recordLease(record.id), { pinned: true, holds });
  }
  return results === undefined ? 'left' : 'moved';
}

/** Sees to it that a result is in the other store; false when that cannot be. */
async function bring(route: MigrationEnds, result: SerializedRef): Promise<boolean> {
  if (result.kind === 'empty') return true;
  if (result.kind === 'snapshot') return bringSnapshot(route, result.key);
  if (result.kind === 'merge') {
    for (const part of result.parts) if (!(await bring(route, part))) return false;
    return true;
  }
  // A digest can be pulled wherever we are; a name that only a store knew must have come along.
  if (parseReference(result.ref).digest !== undefined) return true;
  const { content, snapshots } = route.to;
  if ((await snapshots.byChain(chainId(result.layers.map(({ diffId }) => diffId))!)) !== undefined)
    return true;
  for (const { descriptor } of result.layers) {
    if ((await content.info(descriptor.digest)) === undefined) return false;
  }
  return true;
}

async function bringSnapshot(route: MigrationEnds, key: string): Promise<boolean> {
  const { from, to, leases } = route;
  if (!(await hold(from, leases.from, { type: 'snapshot', id: key }))) return false;
  for (const info of await from.snapshots.chain(key)) {
    throwIfAborted(route.signal);
    const there = await to.snapshots.stat(info.key);
    if (there?.kind === 'committed' && (await hold(to, leases.to, { type: 'snapshot', id: info.key })))
      continue;
    await copySnapshot(route, info);
  }
  return true;
}

/** Makes a blob of the layer, if it is none, and unpacks it on the other side under the same key. */
async function copySnapshot(route: MigrationEnds, info: SnapshotInfo): Promise<void> {
  const layer = await blobOf(route, info.key, info.labels);
  await copyBlob(route, layer.blob);
  await unlessThere(unpackSnapshot(route, info, layer));
}

/** Unpacks a blob that is there. Leaves nothing behind when it throws. */
async function unpackSnapshot(
  { to, leases, signal }: MigrationEnds,
  { key, parent, labels, createdAt }: SnapshotInfo,
  { blob, diffId }: Awaited<ReturnType<typeof blobOf>>,
): Promise<void> {
  const active = `migrate-${crypto.randomUUID()}`;
  const mounts = await to.snapshots.prepare(active, parent, { lease: leases.to });
  try {
    const unpacked = await unpackLayer(to, mounts, blob, { signal });
    if (unpacked.diffId !== diffId) {
      throw new DrydockError(`the layer ${blob.digest} unpacks to ${unpacked.diffId}, not ${diffId}`, {
        code: 'corrupt',
        hop: 'store',
      });
    }
    await to.snapshots.commit(key, active, {
      lease: leases.to,
      labels: {
        // An image built from it later says when the layer was made, as it would have here: unless it was made elsewhere.
        ...(originOf(labels).blob === undefined ? { [snapshotLabels.madeAt]: String(createdAt) } : {}),
        ...ownLabels(labels),
        [snapshotLabels.diffId]: diffId,
      },
    });
  } catch (err) {
    await to.snapshots.remove(active).catch(() => {});
    throw err;
  }
}

async function blobOf(
  { from, leases, signal }: MigrationEnds,
  key: string,
  labels: Record<string, string>,
): Promise<{ blob: Pick<Descriptor, 'digest' | 'size'>; diffId: string }> {
  const origin = originOf(labels).blob;
  const diffId = labels[snapshotLabels.diffId];
  if (
    origin !== undefined &&
    diffId !== undefined &&
    (await from.content.info(origin.digest)) !== undefined
  ) {
    return { blob: origin, diffId };
  }
  const packed = await packSnapshot(from, key, {
    compression: { type: 'uncompressed' },
    store: 'blob',
    lease: leases.from,
    signal,
  });
  return { blob: packed.descriptor, diffId: packed.diffId };
}

/** Drydock's own labels of a layer. The labels that keep blobs are worked out anew. */
function ownLabels(labels: Record<string, string>): Record<string, string> {
  const own = Object.entries(labels).filter(([name]) => name.startsWith('drydock/'));
  const { blob, from } = originOf(labels);
  return { ...Object.fromEntries(own), ...(blob === undefined ? {} : originLabels({ blob, from })) };
}
