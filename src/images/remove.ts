/** `drydock rmi`. */
import { fail } from '../errors/error.ts';
import { familiarName, parseReference } from '../oci/reference.ts';
import type { Digest } from '../oci/types.ts';
import type { Store } from '../store/store.ts';
import { findImage } from './stored.ts';

export interface Removed {
  /** ID of the image that was named. */
  id: Digest;
  /** Names that are gone, as people write them. */
  untagged: string[];
  /** ID of the image if none of its names is left. */
  deleted?: Digest;
  /** Bytes given back. */
  reclaimed: number;
}

/**
 * Removes one name, or, given by an ID, the image with all its names; what then nothing refers to is collected.
 * Throws `not-found`; `conflict` for an ambiguous ID, and, without `force`, for an ID whose image has names in several
 * repositories.
 */
export async function removeImage(
  store: Store,
  nameOrId: string,
  options: { force?: boolean } = {},
): Promise<Removed> {
  const found = await findImage(store, nameOrId);
  const doomed = found.by === 'name' ? [found.record] : found.records;
  if (found.by === 'id' && !options.force) {
    const repositories = new Set(
      doomed.map(({ name }) => {
        const { domain, path } = parseReference(name);
        return `${domain}/${path}`;
      }),
    );
    if (repositories.size > 1) {
      throw fail(
        'conflict',
        'store',
        `conflict: unable to delete ${nameOrId} (must be forced): it has names in several repositories, ${doomed.map(({ name }) => familiarName(name)).join(', ')}`,
        {
          hint: 'Remove the names one by one, or all of them with --force.',
        },
      );
    }
  }
  for (const { name } of doomed) await store.images.delete(name);
  const left = found.records.length - doomed.length;
  const { reclaimed } = await store.gc();
  return {
    id: found.image.id,
    untagged: doomed.map(({ name }) => familiarName(name)),
    deleted: left === 0 ? found.image.id : undefined,
    reclaimed,
  };
}
