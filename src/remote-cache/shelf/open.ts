import type { ShelfPlace } from '../attrs.ts';
import type { KeepRule } from '../keeping/rule.ts';
import type { CacheShelf } from './shelf.ts';

/**
 * Opens the place of a cache without manifests; the code of each kind is loaded then. `mayUse` says whether this
 * machine's own credentials are for a bucket, `keep` which older exports stay when one is written. Throws `denied` and
 * `invalid` (hop `cache`).
 */
export async function openShelf(
  place: ShelfPlace,
  mayUse: (bucket: string) => boolean,
  keep?: KeepRule,
): Promise<CacheShelf> {
  if (place.type === 'gha') {
    const { ghaShelf } = await import('./gha.ts');
    return ghaShelf(place);
  }
  const { bucketShelf } = await import('./bucket.ts');
  return bucketShelf(place, mayUse, keep);
}
