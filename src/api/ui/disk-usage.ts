/** What the cache holds: sums of its kinds, the records that are asked for, and why each is kept. */
import { statfs } from 'node:fs/promises';
import type { Engine } from '../../engine/index.ts';
import { throwIfAborted } from '../../errors/index.ts';
import { type PruneRule, totalUsage, type UsageRecord, usagePages } from '../../upkeep/index.ts';
import type { DiskKind, DiskRecord, DiskUsage } from './types.ts';

interface Asked {
  /** Only records that this is true of, and that were not used for so many ms. */
  fits?: (record: UsageRecord) => boolean;
  unusedFor?: number;
  /** Those that were not used for the longest time first, or the largest. */
  sort: 'used' | 'size';
  limit: number;
  /** Whose records there are to see besides everybody's; undefined: all. */
  owner?: string;
  signal: AbortSignal;
}

/** Reads the cache's records page by page, and keeps no more of them than are asked for. */
export async function diskOf(engine: Engine, asked: Asked): Promise<DiskUsage> {
  const { fits, unusedFor = 0, sort, limit, owner, signal } = asked;
  const { rules } = engine.gc;
  const kinds = new Map<string, DiskKind>();
  const latest = Date.now() - unusedFor;
  const found = new Largest(limit, sort);
  const room = owner === undefined ? roomOf(rules, await totalUsage(engine)) : () => undefined;
  for await (const page of usagePages(engine, owner)) {
    throwIfAborted(signal);
    for (const record of page) {
      const left = room(record);
      if (record.lastUsedAt > latest || fits?.(record) === false) continue;
      count(kinds, record);
      found.add(recordOf(record, left));
    }
  }
  const { blocks, bsize, bavail } = await statfs(engine.store.root);
  return {
    disk: { size: blocks * bsize, free: bavail * bsize },
    kinds: [...kinds.values()].sort((a, b) => b.size - a.size),
    policy: rules.map(({ ...rule }) => rule),
    ...found.all(),
  };
}

function count(kinds: Map<string, DiskKind>, { type, size, inUse, shared }: UsageRecord): void {
  let kind = kinds.get(type);
  if (kind === undefined) {
    kind = { type, records: 0, size: 0, inUse: 0, shared: 0 };
    kinds.set(type, kind);
  }
  kind.records++;
  kind.size += size;
  if (inUse) kind.inUse += size;
  else if (shared) kind.shared += size;
}

function recordOf({ owner: _, inUse, shared, ...rest }: UsageRecord, room: number | undefined): DiskRecord {
  const keptBy = inUse ? 'build' : shared ? 'image' : 'policy';
  return { ...rest, images: rest.images && [...rest.images], keptBy, room };
}

/**
 * How many bytes may come into the cache before the garbage collector takes a record, which it is told of in the order
 * of their last use: only where its one rule is about the cache's size.
 */
function roomOf(rules: readonly PruneRule[], total: number): (record: UsageRecord) => number | undefined {
  const [rule, ...more] = rules;
  const keep = Math.max(rule?.maxUsedSpace ?? 0, rule?.reservedSpace ?? 0);
  const isSimple = more.length === 0 && keep > 0 && rule?.all === true && !rule.filters?.length;
  if (!isSimple || rule.unusedFor !== undefined || (rule.minFreeSpace ?? 0) > 0) return () => undefined;
  let earlier = 0;
  return ({ inUse, size }) => {
    if (inUse) return undefined;
    const room = Math.max(0, keep - total + earlier);
    earlier += size;
    return room;
  };
}

/** The first records of an order, and whether there are more. */
class Largest {
  readonly #limit: number;
  readonly #sort: 'used' | 'size';
  #records: DiskRecord[] = [];
  #more = false;

  constructor(limit: number, sort: 'used' | 'size') {
    this.#limit = limit;
    this.#sort = sort;
  }

  add(record: DiskRecord): void {
    // They come in the order of their last use.
    if (this.#sort === 'used' && this.#records.length >= this.#limit) this.#more = true;
    else this.#records.push(record);
    if (this.#records.length > 2 * this.#limit + 1000) this.#cut();
  }

  all(): { records: DiskRecord[]; more: boolean } {
    this.#cut();
    return { records: this.#records, more: this.#more };
  }

  #cut(): void {
    if (this.#sort === 'size') this.#records.sort((a, b) => b.size - a.size);
    if (this.#records.length <= this.#limit) return;
    this.#records.length = this.#limit;
    this.#more = true;
  }
}
