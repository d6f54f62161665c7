/** Pruning as BuildKit's API and its buildkitd.toml say it: filters, ages and how much space may stay. */
import { statfs } from 'node:fs/promises';
import { type Fields, readFilters } from '../patterns/index.ts';
import {
  diskUsage,
  type PruneOptions,
  type PruneReport,
  prune,
  type UsageDeps,
  type UsageRecord,
} from './disk-usage.ts';

export interface PruneRule {
  /** Also internal records and what images share. */
  all?: boolean;
  /** containerd's filters over `fieldsOf`; alternatives. */
  filters?: readonly string[];
  /** Only what was not used for this many ms. */
  unusedFor?: number;
  /** Bytes that may always stay. */
  reservedSpace?: number;
  /** Bytes that may be taken at most. */
  maxUsedSpace?: number;
  /** Bytes of the disk that are to be free; never below what is reserved. */
  minFreeSpace?: number;
}

/** Prunes by one rule. Throws `invalid` on filters that cannot be read. */
export async function pruneBy(
  deps: UsageDeps,
  rule: PruneRule,
  { background, owner }: Pick<PruneOptions, 'background' | 'owner'> = {},
): Promise<PruneReport> {
  const { filters = [] } = rule;
  const fits = readFilters(filters);
  const usage = await diskUsage(deps, owner);
  const total = usage.reduce((sum, { size }) => sum + size, 0);
  return prune(deps, {
    all: rule.all,
    background,
    owner,
    unusedFor: rule.unusedFor,
    keepBytes: await keepBytes(rule, deps.store.root, total),
    ids: filters.length === 0 ? undefined : usage.filter((each) => fits(fieldsOf(each))).map(({ id }) => id),
  });
}

/** What may stay of `total`: undefined when nothing is said of it. */
async function keepBytes(
  { reservedSpace = 0, maxUsedSpace = 0, minFreeSpace = 0 }: PruneRule,
  root: string,
  total: number,
): Promise<number | undefined> {
  const limits: number[] = [];
  if (maxUsedSpace > 0) limits.push(maxUsedSpace);
  if (minFreeSpace > 0) {
    const disk = await statfs(root);
    const free = disk.bavail * disk.bsize;
    limits.push(Math.max(0, total - Math.max(0, minFreeSpace - free)));
  }
  if (limits.length === 0) return reservedSpace > 0 ? reservedSpace : undefined;
  return Math.max(reservedSpace, Math.min(...limits));
}

/** What filters see of a record. */
export function fieldsOf(record: UsageRecord): Fields {
  return {
    id: record.id,
    type: record.type,
    description: record.description,
    inuse: record.inUse,
    shared: record.shared,
    private: !record.shared,
    mutable: isMutable(record),
    immutable: !isMutable(record),
    parents: '',
  };
}

/** Cache mounts and folders kept for the next time change in place. */
export function isMutable({ type, id }: UsageRecord): boolean {
  return type === 'exec.cachemount' || !id.startsWith('sha256:');
}
