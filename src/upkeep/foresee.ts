/** What a prune would take, and how much of the disk it would give back, without doing it. */
import {
  choose,
  heldSnapshots,
  itemPages,
  type PruneOptions,
  type UsageDeps,
  type UsageRecord,
} from './disk-usage.ts';

interface Foreseen {
  /** What would be taken. */
  records: UsageRecord[];
  /** The bytes that the records are listed with. */
  size: number;
  /**
   * The bytes that would be given back: a record's layer stays while an image, a running build, or a layer on it that
   * another record keeps needs it.
   */
  freed: number;
}

/** Foresees a prune with the same options. Builds that go on meanwhile may change it. */
export async function foreseePrune(deps: UsageDeps, options: PruneOptions): Promise<Foreseen> {
  const chosen = await choose(deps, options);
  const ids = new Set(chosen.map(({ usage }) => usage.id));
  const held = await heldSnapshots(deps.store);
  const staying = new Set([...held.byBuilds, ...held.byImages]);
  for await (const page of itemPages(deps, [], undefined, held)) {
    for (const { usage, snapshots = [] } of page) {
      if (!ids.has(usage.id)) for (const key of snapshots) held.addChain(staying, key);
    }
  }
  let size = 0;
  let freed = 0;
  for (const { usage, snapshots = [] } of chosen) {
    size += usage.size;
    if (snapshots.some((key) => staying.has(key))) continue;
    freed += usage.size;
    // Several records may keep the same layer, which goes once.
    for (const key of snapshots) staying.add(key);
  }
  return { records: chosen.map(({ usage }) => usage), size, freed };
}
