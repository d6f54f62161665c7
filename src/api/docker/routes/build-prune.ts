/** `POST /build/prune`. */

import { statfs } from 'node:fs/promises';
import { cachesOf } from '../../../auth/index.ts';
import {
  type PruneOptions,
  prune,
  pruneFilters,
  readPruneChoice,
  totalUsage,
} from '../../../upkeep/index.ts';
import { apiError } from '../http/errors.ts';
import { pruned } from '../http/pruned.ts';
import { type Query, readFilters } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';

export const buildPruneRoutes: Route[] = [
  { method: 'POST', path: '/build/prune', scopes: ['cache:prune'], handle: pruneBuild },
];

async function pruneBuild(call: Call) {
  const { host, query, authority } = call;
  const { engine } = host;
  const owner = cachesOf(authority);
  const options = await pruneOptions(query, engine.store.root, () => totalUsage(engine, owner));
  const { records, reclaimed } = await prune(engine, { ...options, owner });
  host.events.emit('builder', 'prune', '', { reclaimed: String(reclaimed) });
  const ids = records.map(({ id }) => id);
  return pruned(
    call,
    { CachesDeleted: ids.length === 0 ? null : ids, SpaceReclaimed: reclaimed },
    ids.map((id) => ({ id, status: 'Deleted' })),
  );
}

/** The options in a query. `total` gives the bytes that the cache takes. */
async function pruneOptions(query: Query, root: string, total: () => Promise<number>): Promise<PruneOptions> {
  const known = pruneFilters.flatMap((name) => [name, `${name}!`, `${name}~`]);
  const filters = new Map(readFilters(query, ['until', 'unused-for', ...known]));
  const options: PruneOptions = { all: query.bool('all') };
  Object.assign(options, readPruneChoice(filters));
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
