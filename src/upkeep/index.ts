/** Disk usage, garbage collection, pruning, and moving from one store to the other. */
export {
  diskUsage,
  type PruneOptions,
  prune,
  totalUsage,
  type UsageRecord,
  usagePages,
} from './disk-usage.ts';
export { foreseePrune } from './foresee.ts';
export { GarbageCollector, type GcRule, type Space } from './gc.ts';
export { migrateStore } from './migrate/migrate.ts';
export { pruneFilters, readPruneChoice, splitPruneFilters } from './prune-filter.ts';
export { fieldsOf, isMutable, type PruneRule, pruneBy } from './prune-rule.ts';
