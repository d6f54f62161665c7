/** Gives names to images. All callers that name an image in the store use this file, so no image gets lost by it. */
import { danglingName, storedImages } from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import { type Descriptor, parseReference } from '../oci/index.ts';
import type { ImageRecord, Store } from '../store/index.ts';

/**
 * Gives a target in content a name; a name that is in use moves. An image that so loses its last name is kept without
 * one, as in docker, until it is removed or pruned; an image kept like this that gets a name is an ordinary one again.
 * `date`: see `Images.put`. Throws `not-found` when the target is not in content, and the errors of `checkNewName`.
 *
 *     await nameImage(store, 'docker.io/library/app:1', manifest); // an image that so loses its last name is dangling
 */
export function nameImage(
  store: Store,
  name: string,
  target: Descriptor,
  labels?: Record<string, string>,
  date?: number,
): Promise<ImageRecord> {
  checkNewName(name);
  return store.work.naming.run(name, async () => {
    const old = await store.images.get(name);
    const nameless = danglingName(target.digest);
    if (name === nameless) {
      const [named] = await store.images.of(target.digest);
      if (named !== undefined) return named;
    }
    const moves = old?.target.digest !== target.digest;
    if (old !== undefined && moves) await keepNameless(store, old, target);
    const record = await store.images.put(name, target, labels, date);
    if (moves && name !== nameless) await store.images.delete(nameless);
    return record;
  });
}

/** Throws `invalid` for a normalized name that reads like an image's ID. */
export function checkNewName(name: string): void {
  const { domain, path } = parseReference(name);
  if (domain !== 'docker.io' || path !== 'library/sha256') return;
  throw fail('invalid', 'client', 'refusing to create an ambiguous tag using digest algorithm as name', {
    hint: 'Choose another name than sha256.',
  });
}

/**
 * Keeps a record's image without a name before its name goes to `next`, unless the image has another name or is not
 * whole.
 */
async function keepNameless(store: Store, old: ImageRecord, next: Descriptor): Promise<void> {
  const { digest } = old.target;
  if ((await store.images.of(digest)).some(({ name }) => name !== old.name)) return;
  const was = await storedImages(store, old.name, old.target);
  const will = new Set((await storedImages(store, old.name, next)).map(({ id }) => id));
  // The same image in another manifest (compressed, or with more platforms) keeps the name.
  if (was.every(({ id }) => will.has(id))) return;
  await store.images.put(danglingName(digest), old.target, old.labels);
}
