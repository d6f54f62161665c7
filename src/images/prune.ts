/** `drydock image prune`: removes images that filters mean. */
import type { Digest } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { boolFilter, type Filters } from '../words/index.ts';
import { filterImages } from './filter.ts';
import { listedImages } from './listed.ts';
import { removeMany } from './remove.ts';

/** The names of the filters. */
export const pruneImageFilters: readonly string[] = ['dangling', 'until', 'label', 'label!'];

/**
 * Removes the images that fit the filters and collects what nothing refers to then. Without `dangling`, or with
 * `dangling=true`, these are images without a name; with `dangling=false`, all. Images whose ID or digest `used` holds
 * stay. Tells of each what was removed of it, and how many bytes were freed in all. Throws `invalid` as `filterImages`
 * does.
 */
export async function pruneImages(
  store: Store,
  filters: Filters,
  used: { has(digest: Digest): boolean } = new Set<Digest>(),
): ReturnType<typeof removeMany> {
  const onlyDangling = boolFilter(filters, 'dangling') ?? true;
  const others = new Map([...filters].filter(([name]) => name !== 'dangling'));
  const fitting = await filterImages(store, others, await listedImages(store));
  const doomed = fitting.filter(
    ({ id, target, dangling }) => (dangling || !onlyDangling) && !used.has(id) && !used.has(target.digest),
  );
  return doomed.length === 0 ? { removed: [], reclaimed: 0 } : removeMany(store, doomed);
}
