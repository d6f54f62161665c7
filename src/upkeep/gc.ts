/** Takes records out of the cache by itself, after builds. */
import { statfsSync } from 'node:fs';
import type { UsageDeps } from './disk-usage.ts';
import type { PruneRule } from './prune-rule.ts';

/** A number of bytes, or a share of the disk that the root is on. */
export type Space = number | { percent: number };

/** A rule of the automatic policy, as an operator writes it. */
export interface GcRule extends Omit<PruneRule, 'reservedSpace' | 'maxUsedSpace' | 'minFreeSpace'> {
  reservedSpace?: Space;
  maxUsedSpace?: Space;
  minFreeSpace?: Space;
}

/** How often rules that must look at every record are applied at most, in ms. */
const pauseMs = 60_000;

/** Takes records out of the cache by rules. The engine has one, and `afterBuild` is called at the end of each build. */
export class GarbageCollector {
  /** The rules, in the order in which they are applied. An empty list: no record is ever taken out. */
  readonly rules: readonly PruneRule[];
  readonly #deps: UsageDeps;
  #last = Number.NEGATIVE_INFINITY;

  /** Default rules: the cache may take a tenth of the disk, and 10 GB in any case. */
  constructor(deps: UsageDeps, rules: readonly GcRule[] | undefined) {
    this.#deps = deps;
    const { blocks, bsize } = statfsSync(deps.store.root);
    const disk = blocks * bsize;
    const keep = Math.round(Math.max(10e9, disk / 10));
    this.rules = rules?.map((rule) => inBytes(rule, disk)) ?? [
      { all: true, reservedSpace: keep, maxUsedSpace: keep },
    ];
  }

  /** Applies the rules when there may be something to take out. */
  async afterBuild(): Promise<void> {
    const { cache } = this.#deps;
    for (const rule of this.rules) {
      const { maxUsedSpace = 0, reservedSpace = 0, minFreeSpace = 0, unusedFor } = rule;
      const most = Math.max(maxUsedSpace, reservedSpace);
      const simple = most > 0 && minFreeSpace === 0 && unusedFor === undefined && !rule.filters?.length;
      if (simple && cache.totalSize() <= most) continue;
      if (!simple && performance.now() - this.#last < pauseMs) continue;
      // Few builds need it.
      const { pruneBy } = await import('./prune-rule.ts');
      await pruneBy(this.#deps, rule, { background: true, by: 'garbage collection' });
    }
    if (performance.now() - this.#last >= pauseMs) this.#last = performance.now();
  }
}

function inBytes(rule: GcRule, disk: number): PruneRule {
  const bytes = (space: Space | undefined) =>
    typeof space === 'object' ? Math.round((disk * space.percent) / 100) : space;
  return {
    ...rule,
    reservedSpace: bytes(rule.reservedSpace),
    maxUsedSpace: bytes(rule.maxUsedSpace),
    minFreeSpace: bytes(rule.minFreeSpace),
  };
}
