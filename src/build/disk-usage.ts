/** What the build cache takes, and giving it back. */
import { statfs } from 'node:fs/promises';
import type { Cache, CacheRecord, RecordType } from '../cache/cache.ts';
import type { Digest } from '../oci/types.ts';
import { recordLease } from '../solver/results.ts';
import type { Store } from '../store/store.ts';

export interface UsageRecord {
  id: string;
  type: RecordType;
  description: string;
  /** Bytes. */
  size: number;
  /** ms since the epoch */
  createdAt: number;
  lastUsedAt: number;
  usageCount: number;
  /** A running build holds it. */
  inUse: boolean;
  /** An image in the store uses it too. */
  shared: boolean;
}

export interface PruneOptions {
  /** Also what images share and internal records; default: only what nothing else uses. */
  all?: boolean;
  /** Only records not used for this many ms. */
  unusedFor?: number;
  /** Stop once the cache takes no more than this many bytes; least recently used go first. */
  keepBytes?: number;
  /** Only these types. */
  types?: RecordType[];
  /** Only these ids. */
  ids?: string[];
}

export interface PruneReport {
  records: UsageRecord[];
  /** Bytes given back by the store. */
  reclaimed: number;
}

/** Cache mounts are not snapshots; the executor's side lists and removes them. */
export interface CacheMountStore {
  list(): Promise<{ id: string; size: number; createdAt: number; lastUsedAt: number; inUse: boolean }[]>;
  remove(id: string): Promise<number>;
}

/** Folders that sources keep for the next time (clients' folders, git mirrors); neither snapshots nor records. */
export interface SourceFolderStore {
  list(): Promise<
    { id: string; description: string; size: number; createdAt: number; lastUsedAt: number; inUse: boolean }[]
  >;
  remove(id: string): Promise<number>;
}

export interface UsageDeps {
  store: Store;
  cache: Cache;
  cacheMounts: CacheMountStore;
  syncFolders: SourceFolderStore;
  gitMirrors: SourceFolderStore;
}

/** All cache records, cache mounts and sources' folders, least recently used first. */
export async function diskUsage(deps: UsageDeps): Promise<UsageRecord[]> {
  const held = await heldSnapshots(deps.store);
  const records = deps.cache.list().map((record): UsageRecord => {
    const snapshots = snapshotsOf(record);
    return {
      id: record.id,
      type: record.type,
      description: record.description,
      size: record.size,
      createdAt: record.createdAt,
      lastUsedAt: record.lastUsedAt,
      usageCount: record.usageCount,
      inUse: snapshots.some((key) => held.byBuilds.has(key)),
      shared: snapshots.some((key) => held.byImages.has(key)),
    };
  });
  for (const mount of await deps.cacheMounts.list()) {
    records.push({
      ...mount,
      type: 'exec.cachemount',
      description: `cache mount ${mount.id}`,
      usageCount: 1,
      shared: false,
    });
  }
  for (const folder of await deps.syncFolders.list()) {
    records.push({ ...folder, type: 'source.local', usageCount: 1, shared: false });
  }
  for (const mirror of await deps.gitMirrors.list()) {
    records.push({ ...mirror, type: 'source.git.checkout', usageCount: 1, shared: false });
  }
  return records.sort((a, b) => a.lastUsedAt - b.lastUsedAt);
}

/** Drops cache records and collects what nothing refers to any more. Never touches what a running build holds. */
export async function prune(deps: UsageDeps, options: PruneOptions = {}): Promise<PruneReport> {
  const usage = await diskUsage(deps);
  let total = usage.reduce((sum, record) => sum + record.size, 0);
  const now = Date.now();
  const chosen: UsageRecord[] = [];
  for (const record of usage) {
    if (options.keepBytes !== undefined && total <= options.keepBytes) break;
    if (record.inUse || (!options.all && record.shared)) continue;
    if (!options.all && (record.type === 'internal' || record.type === 'frontend')) continue;
    if (options.types !== undefined && !options.types.includes(record.type)) continue;
    if (options.ids !== undefined && !options.ids.some((id) => matchesId(record.id, id))) continue;
    if (options.unusedFor !== undefined && now - record.lastUsedAt < options.unusedFor) continue;
    chosen.push(record);
    total -= record.size;
  }
  let reclaimed = 0;
  // Records are named by digests, the others are not.
  const isRecord = ({ id, type }: UsageRecord) => type !== 'exec.cachemount' && id.startsWith('sha256:');
  for (const record of chosen) {
    if (record.type === 'exec.cachemount') reclaimed += await deps.cacheMounts.remove(record.id);
    else if (!isRecord(record)) {
      const folders = record.type === 'source.local' ? deps.syncFolders : deps.gitMirrors;
      reclaimed += await folders.remove(record.id);
    } else await deps.store.leases.delete(recordLease(record.id as Digest));
  }
  deps.cache.prune(chosen.filter(isRecord).map((r) => r.id as Digest));
  reclaimed += (await deps.store.gc()).reclaimed;
  const alive = new Set((await deps.store.snapshots.list()).map((info) => info.key));
  deps.cache.forgetDigests((ref) => !ref.startsWith('snapshot:') || alive.has(ref.slice('snapshot:'.length)));
  return { records: chosen, reclaimed };
}

/** The automatic policy: the cache may take a tenth of the disk, but 10 GB is always allowed. */
export async function autoPrune(deps: UsageDeps): Promise<void> {
  const disk = await statfs(deps.store.root);
  const keepBytes = Math.max(10e9, (disk.blocks * disk.bsize) / 10);
  if (deps.cache.totalSize() > keepBytes) await prune(deps, { all: true, keepBytes });
}

function matchesId(id: string, wanted: string): boolean {
  return id === wanted || id.startsWith(`sha256:${wanted}`) || id.startsWith(wanted);
}

function snapshotsOf(record: CacheRecord): string[] {
  return (record.results ?? []).flatMap((result) => (result.kind === 'snapshot' ? [result.key] : []));
}

/** Snapshots held by running builds (their leases) and by images, with their parents. */
async function heldSnapshots(store: Store): Promise<{ byBuilds: Set<string>; byImages: Set<string> }> {
  const infos = await store.snapshots.list();
  const parents = new Map(infos.map((info) => [info.key, info.parent]));
  const byBuilds = new Set<string>();
  const byImages = new Set<string>();
  const addChain = (set: Set<string>, key: string | undefined) => {
    for (let k = key; k !== undefined && !set.has(k); k = parents.get(k)) set.add(k);
  };
  for (const lease of await store.leases.list()) {
    if (lease.pinned) continue;
    for (const resource of await store.leases.resources(lease.id)) {
      if (resource.type === 'snapshot') addChain(byBuilds, resource.id);
    }
  }
  const { imageChains } = await import('./image-chains.ts');
  for (const chain of await imageChains(store))
    addChain(byImages, (await store.snapshots.byChain(chain))?.key);
  return { byBuilds, byImages };
}
