/** `POST /build/prune`. */
import { statfs } from 'node:fs/promises';
import { cachesOf } from '../../../auth/index.ts';
import type { RecordType } from '../../../cache/index.ts';
import { type PruneOptions, prune, totalUsage, type UsageRecord } from '../../../upkeep/index.ts';
import { apiError } from '../http/errors.ts';
import { boolFilter, type Query, readFilters, readTime } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';

export const buildPruneRoutes: Route[] = [
  { method: 'POST', path: '/build/prune', scopes: ['cache:prune'], handle: pruneBuild },
];

const types: readonly RecordType[] = [
  'regular',
  'source.local',
  'source.git.checkout',
  'exec.cachemount',
  'frontend',
  'internal',
];

async function pruneBuild({ host, query, authority }: Call) {
  const { engine } = host;
  const owner = cachesOf(authority);
  const options = await pruneOptions(query, engine.store.root, () => totalUsage(engine, owner));
  const { records, reclaimed } = await prune(engine, { ...options, owner });
  host.events.emit('builder', 'prune', '', { reclaimed: String(reclaimed) });
  return {
    json: {
      CachesDeleted: records.length === 0 ? null : records.map(({ id }) => id),
      SpaceReclaimed: reclaimed,
    },
  };
}

/** The options in a query. `total` gives the bytes that the cache takes. */
async function pruneOptions(query: Query, root: string, total: () => Promise<number>): Promise<PruneOptions> {
  const filters = readFilters(query, [
    'until',
    'unused-for',
    'id',
    'parent',
    'type',
    'description',
    'inuse',
    'shared',
    'private',
  ]);
  const options: PruneOptions = { all: query.bool('all') };
  const ages = [...(filters.get('until') ?? []), ...(filters.get('unused-for') ?? [])];
  if (ages.length > 1) throw apiError('invalid', "filters: give one of 'until' and 'unused-for', once");
  if (ages[0] !== undefined) options.unusedFor = Math.max(0, Date.now() - readTime(ages[0], 'until'));
  if (filters.has('type')) {
    options.types = (filters.get('type') ?? []).map((name) => {
      const type = types.find((known) => known === name);
      if (type === undefined) {
        throw apiError('invalid', `unknown record type ${name}`, `Types: ${types.join(', ')}.`);
      }
      return type;
    });
  }
  if (filters.has('id')) options.ids = [...(filters.get('id') ?? [])];
  const narrowed = ['parent', 'description', 'inuse', 'shared', 'private'].filter((name) =>
    filters.has(name),
  );
  if (narrowed.length > 0) {
    const inUse = boolFilter(filters, 'inuse');
    const shared = boolFilter(filters, 'shared');
    const isPrivate = boolFilter(filters, 'private');
    const descriptions = filters.get('description');
    // Records here do not tell their parents; none has the one asked for.
    options.fits = (record: UsageRecord) =>
      !filters.has('parent') &&
      (inUse === undefined || record.inUse === inUse) &&
      (shared === undefined || record.shared === shared) &&
      (isPrivate === undefined || record.shared !== isPrivate) &&
      (descriptions === undefined || descriptions.some((text) => record.description.includes(text)));
  }
  const space = (name: string) => {
    const bytes = query.int(name) ?? 0;
    if (bytes < 0) throw apiError('invalid', `${name} must not be negative`);
    return bytes;
  };
  const reserved = space('reserved-space') || space('keep-storage');
  const most = space('max-used-space');
  const free = space('min-free-space');
  if (reserved > 0 || most > 0 || free > 0) {
    const { bavail, bsize } = await statfs(root);
    options.keepBytes = keepBytes({ reserved, most, free }, await total(), bavail * bsize);
  }
  return options;
}

/**
 * How many bytes the cache may keep: at most `most`, and less where the disk is to have `free` bytes, but the
 * `reserved` bytes in any case. 0 means that a limit is not set.
 */
export function keepBytes(
  limits: { reserved: number; most: number; free: number },
  total: number,
  available: number,
): number {
  const wanted = limits.free - available;
  let keep = limits.most > 0 ? limits.most : limits.reserved > 0 && limits.free === 0 ? 0 : total;
  if (limits.free > 0 && wanted > 0) keep = Math.min(keep, total - wanted);
  return Math.max(keep, limits.reserved, 0);
}
