/** The space that the build cache takes, and how it is given back. */
import type { Cache, CacheRecord, RecordType } from '../cache/index.ts';
import type { Kept, KeptFolders } from '../kept/index.ts';
import type { Digest } from '../oci/index.ts';
import { recordLease } from '../solver/index.ts';
import { fillReserve, type Store, withReserve } from '../store/index.ts';
import { inTurns, isDue, nextTurn } from '../workers/index.ts';

/** A cache record or a kept folder, as `du` lists it. */
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
  /** Whether a running build holds it. */
  inUse: boolean;
  /** Whether an image in the store uses it, too. */
  shared: boolean;
  /** Its owner, where builds are kept apart; undefined: it is everybody's. */
  owner?: string;
  /** What the build was made from that made it: a client's folder, what stands for one that is sent, or a URL. */
  project?: string;
  /** The full names of that build's images. */
  images?: readonly string[];
  /** Of a cache mount: its ID. */
  mount?: string;
}

/** The records that a prune takes; without options, all that nothing else uses. */
export interface PruneOptions {
  /** Takes records that images share, and internal records, too; default: only those that nothing else uses. */
  all?: boolean;
  /** Takes only records that were not used for this many ms. */
  unusedFor?: number;
  /**
   * Stops once the cache takes no more than this many bytes. Records that were not used for the longest time go first.
   */
  keepBytes?: number;
  /** Takes only records that this is true of. */
  fits?: (record: UsageRecord) => boolean;
  /** Takes only this owner's records and everybody's; undefined: all. */
  owner?: string;
  /** Returns before the removed files are off the disk. */
  background?: boolean;
  /** Who prunes, as builds are told it; default: `a prune`. */
  by?: string;
}

export interface PruneReport {
  records: UsageRecord[];
  /** The bytes that the store gave back. */
  reclaimed: number;
}

export interface UsageDeps {
  store: Store;
  cache: Cache;
  kept: Kept;
  /** Is told which records are pruned by what. */
  explain?: { pruned(records: readonly Digest[], rule: string, everything: boolean): Promise<void> };
}

/** The type under which each kind of kept folder is listed, in BuildKit's names. */
const keptTypes: Record<keyof Kept, RecordType> = {
  cacheMounts: 'exec.cachemount',
  clientFolders: 'source.local',
  uploads: 'source.local',
  gitMirrors: 'source.git.checkout',
  httpAnswers: 'regular',
  imageAnswers: 'regular',
  gitAnswers: 'regular',
};

/**
 * The cache records and the kept folders, those first that were not used for the longest time. With an owner: the
 * owner's and everybody's.
 */
export async function diskUsage(deps: UsageDeps, owner?: string): Promise<UsageRecord[]> {
  const all: UsageRecord[] = [];
  for await (const page of usagePages(deps, owner)) for (const record of page) all.push(record);
  return all;
}

/** The same, some hundred at a time, for callers that need not have all in memory. */
export async function* usagePages(deps: UsageDeps, owner?: string): AsyncGenerator<UsageRecord[], void> {
  for await (const page of itemPages(deps, await keptItems(deps, owner), owner)) {
    yield page.map(({ usage }) => usage);
  }
}

interface Item {
  usage: UsageRecord;
  /** Of a cache record: the snapshots that it keeps. */
  snapshots?: readonly string[];
  /** The kind of a kept folder; undefined for a cache record. */
  folders?: KeptFolders;
}

const isOf =
  (owner: string | undefined) =>
  (item: { owner?: string }): boolean =>
    owner === undefined || item.owner === undefined || item.owner === owner;

/** The kept folders, as `itemPages` lists them. */
async function keptItems(deps: UsageDeps, owner: string | undefined): Promise<Item[]> {
  const items: Item[] = [];
  for (const [kind, type] of Object.entries(keptTypes) as [keyof Kept, RecordType][]) {
    const folders = deps.kept[kind];
    for (const info of (await folders.list()).filter(isOf(owner))) {
      const { name, ...rest } = info;
      const mount = kind === 'cacheMounts' ? name.replace(/:sha256:[0-9a-f]{64}$/, '') : undefined;
      items.push({ usage: { ...rest, type, usageCount: 1, shared: false, mount }, folders });
    }
  }
  return items.sort((a, b) => a.usage.lastUsedAt - b.usage.lastUsedAt);
}

/** Kept folders and cache records in the order of their last use. */
export async function* itemPages(
  { store, cache }: UsageDeps,
  kept: readonly Item[],
  owner: string | undefined,
  held?: HeldSnapshots,
): AsyncGenerator<Item[], void> {
  held ??= await heldSnapshots(store);
  let next = 0;
  for (const records of cache.pages()) {
    if (isDue()) await nextTurn();
    const page: Item[] = [];
    for (const record of records.filter(isOf(owner))) {
      for (let folder = kept[next]; folder !== undefined; folder = kept[next]) {
        if (folder.usage.lastUsedAt > record.lastUsedAt) break;
        page.push(folder);
        next++;
      }
      const snapshots = snapshotsOf(record);
      const { id, type, description, size, createdAt, lastUsedAt, usageCount, owner, madeFor } = record;
      const { project, images } = madeFor ?? {};
      const inUse = snapshots.some((key) => held.byBuilds.has(key));
      const shared = snapshots.some((key) => held.byImages.has(key));
      page.push({
        snapshots,
        usage: {
          ...{ id, type, description, size, createdAt, lastUsedAt, usageCount, inUse, shared, owner },
          ...{ project, images },
        },
      });
    }
    yield page;
  }
  yield kept.slice(next);
}

/** Bytes of all that `diskUsage` lists. */
export async function totalUsage(deps: UsageDeps, owner?: string): Promise<number> {
  return totalOf(deps, await keptItems(deps, owner), owner);
}

function totalOf({ cache }: UsageDeps, kept: readonly Item[], owner: string | undefined): number {
  return kept.reduce((sum, { usage }) => sum + usage.size, cache.totalSize(owner));
}

/** How many records' leases are deleted together. */
const leasesTogether = 200;

/**
 * Drops cache records and kept folders, and collects what nothing refers to any more. It never touches what a running
 * build holds. On a full disk it goes on with the space that is set aside for this.
 */
export async function prune(deps: UsageDeps, options: PruneOptions = {}): Promise<PruneReport> {
  const { root } = deps.store;
  const free = <T>(work: () => T | Promise<T>) => withReserve(root, work);
  const chosen = await choose(deps, options);
  let reclaimed = 0;
  const records: Digest[] = [];
  for (const { usage, folders } of chosen) {
    if (folders !== undefined) {
      reclaimed += await free(() => folders.remove(usage.id));
      continue;
    }
    records.push(usage.id as Digest);
  }
  // Both in the order in which they lie in the databases, so that each page is written once and not for each of its rows.
  const byId = records.toSorted();
  const forget = async () => {
    for (let at = 0; at < byId.length; at += leasesTogether) {
      const some = byId.slice(at, at + leasesTogether);
      await free(() => Promise.all(some.map((id) => deps.store.leases.delete(recordLease(id)))));
    }
    for (let at = 0; at < records.length; at += 500) {
      if (isDue()) await nextTurn();
      await free(() => deps.cache.drop(records.slice(at, at + 500)));
    }
    if (isForgettingDue(deps.cache, records.length, options)) {
      await free(() => inTurns(deps.cache.forgetting()));
    }
  };
  const collected = await free(() => deps.store.gc(forget));
  reclaimed += collected.reclaimed;
  await deps.explain?.pruned(records, ruleText(options), isEverything(options));
  // Whoever asked for space has it then, and the next build does not share the disk with the deleting.
  if (options.background !== true) await deps.store.settled?.();
  if (collected.snapshots.length > 0) await forgetDigests(deps);
  fillReserve(root);
  return { records: chosen.map(({ usage }) => usage), reclaimed };
}

/** What a prune takes. */
export async function choose(deps: UsageDeps, options: PruneOptions): Promise<Item[]> {
  const { all, keepBytes, unusedFor, fits, owner } = options;
  const kept = await keptItems(deps, owner);
  let total = keepBytes === undefined ? 0 : totalOf(deps, kept, owner);
  const now = Date.now();
  const chosen: Item[] = [];
  for await (const page of itemPages(deps, kept, owner)) {
    for (const item of page) {
      const { usage } = item;
      if (keepBytes !== undefined && total <= keepBytes) return chosen;
      // Those that follow were used later.
      if (unusedFor !== undefined && now - usage.lastUsedAt < unusedFor) return chosen;
      if (usage.inUse || (!all && usage.shared)) continue;
      if (!all && (usage.type === 'internal' || usage.type === 'frontend')) continue;
      if (fits?.(usage) === false) continue;
      chosen.push(item);
      total -= usage.size;
    }
  }
  return chosen;
}

/** Fewer records without a result are not worth looking at all records. */
const fewBare = 1000;

/**
 * Whether to look for records that nothing is built on any more, among all there are: when something was dropped, but
 * at a build's end only once they may be a good part of all. A full cache drops a few records after every build.
 */
function isForgettingDue(cache: Cache, dropped: number, { background }: PruneOptions): boolean {
  if (background !== true) return dropped > 0;
  const { live, bare } = cache.counts();
  return bare > fewBare && bare > live;
}

/** Forgets the digests of trees that are gone. */
async function forgetDigests({ store, cache }: UsageDeps): Promise<void> {
  const alive = new Set((await store.snapshots.list()).map((info) => info.key));
  // Images are named by what they hold. Other ids are of snapshots, or of states of clients' folders.
  await withReserve(store.root, () =>
    cache.forgetDigests((ref) => ref === 'empty' || ref.startsWith('sha256:') || alive.has(ref)),
  );
}

/** Whether a prune leaves nothing but what is in use. */
function isEverything({ all, unusedFor, keepBytes, fits, owner }: PruneOptions): boolean {
  return all === true && [unusedFor, keepBytes, fits, owner].every((limit) => limit === undefined);
}

/** What a prune took away, as builds are told later. */
function ruleText({ by = 'a prune', all, unusedFor, keepBytes, fits }: PruneOptions): string {
  const hours = unusedFor === undefined ? undefined : Math.round(unusedFor / 36e5);
  const parts = [
    fits === undefined ? '' : 'of chosen records',
    hours === undefined
      ? ''
      : `of what was not used for ${hours >= 1 ? `${hours} h` : `${Math.round((unusedFor ?? 0) / 1000)} s`}`,
    keepBytes === undefined ? '' : `down to ${Math.round(keepBytes / 1e6)} MB`,
  ].filter((part) => part !== '');
  const what = parts.length > 0 ? parts.join(' ') : all === true ? 'of everything' : 'of what no image uses';
  return `${by} ${what}`;
}

function snapshotsOf(record: CacheRecord): string[] {
  return (record.results ?? []).flatMap((result) => (result.kind === 'snapshot' ? [result.key] : []));
}

/** The snapshots that running builds hold (by their leases) and that images hold, with their parents. */
interface HeldSnapshots {
  byBuilds: Set<string>;
  byImages: Set<string>;
  /** Adds a snapshot with all below it to a set. */
  addChain(set: Set<string>, key: string | undefined): void;
}

export async function heldSnapshots(store: Store): Promise<HeldSnapshots> {
  const infos = await store.snapshots.list();
  const parents = new Map(infos.map((info) => [info.key, info.parent]));
  const byBuilds = new Set<string>();
  const byImages = new Set<string>();
  const addChain = (set: Set<string>, key: string | undefined) => {
    for (let k = key; k !== undefined && !set.has(k); k = parents.get(k)) set.add(k);
  };
  for (const lease of await store.leases.list({ pinned: false })) {
    for (const resource of await store.leases.resources(lease.id)) {
      if (resource.type === 'snapshot') addChain(byBuilds, resource.id);
    }
  }
  const { imageChains } = await import('./image-chains.ts');
  for (const chain of await imageChains(store))
    addChain(byImages, (await store.snapshots.byChain(chain))?.key);
  return { byBuilds, byImages, addChain };
}
