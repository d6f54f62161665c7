/**
 * Pruning as BuildKit's API and buildkitd.toml describe it: by filters, by age, and by how much space may stay taken.
 */
import { statfs } from 'node:fs/promises';
import { type Fields, readFilters } from '../patterns/index.ts';
import {
  type PruneOptions,
  type PruneReport,
  prune,
  totalUsage,
  type UsageDeps,
  type UsageRecord,
} from './disk-usage.ts';

/** One rule of pruning. */
export interface PruneRule {
  /** Takes internal records and those that images share, too. */
  all?: boolean;
  /** containerd's filters over `fieldsOf`. A record that fits one of them is taken. */
  filters?: readonly string[];
  /** Takes only records that were not used for this many ms. */
  unusedFor?: number;
  /** How many bytes may stay in any case. */
  reservedSpace?: number;
  /** How many bytes may be taken at most. */
  maxUsedSpace?: number;
  /** How many bytes of the disk are to be free. The cache does not go below the reserved space for it. */
  minFreeSpace?: number;
}

/** Prunes by one rule. Throws `invalid` for filters that cannot be read. */
export async function pruneBy(
  deps: UsageDeps,
  rule: PruneRule,
  { background, owner, by }: Pick<PruneOptions, 'background' | 'owner' | 'by'> = {},
): Promise<PruneReport> {
  const { filters = [] } = rule;
  const fits = readFilters(filters);
  return prune(deps, {
    all: rule.all,
    background,
    by,
    owner,
    unusedFor: rule.unusedFor,
    keepBytes: await keepBytes(rule, deps.store.root, await totalUsage(deps, owner)),
    fits: filters.length === 0 ? undefined : (record) => fits(fieldsOf(record)),
  });
}

/** How many bytes of `total` may stay; undefined when the rule does not say. */
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

/** The fields of a record that filters see. */
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
    image: (record.images ?? []).join(','),
    project: record.project ?? '',
    mount: record.mount ?? '',
  };
}

/** Whether the content of a record changes in place, as that of cache mounts and other kept folders does. */
export function isMutable({ type, id }: UsageRecord): boolean {
  return type === 'exec.cachemount' || !id.startsWith('sha256:');
}
