/** `drydock rmi`, and the removal of images for `prune` and docker's API. */
import {
  type FoundImage,
  findImage,
  imageFor,
  isDangling,
  recordsByTarget,
  referenceOf,
  type StoredImage,
  storedImages,
} from '../distribution/index.ts';
import { fail } from '../errors/index.ts';
import { type Digest, familiarName, type Platform } from '../oci/index.ts';
import { fillReserve, type ImageRecord, type Store, withReserve } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';

/** The result of a removal. */
interface Removed {
  /** The ID of the image that was named. */
  id: Digest;
  /** The names that were removed, as people write them. */
  untagged: string[];
  /** The ID of the image, if none of its names is left. */
  deleted?: Digest;
  /** Bytes freed. */
  reclaimed: number;
}

/**
 * Removes one name or, for an ID, the image with all its names; then collects everything that nothing refers to. Throws
 * the errors of `checkRemoval`.
 */
export async function removeImage(
  store: Store,
  nameOrId: string,
  options: { force?: boolean } = {},
): Promise<Removed> {
  const found = await checkRemoval(store, nameOrId, options);
  if (found.by === 'name') return removeName(store, found.record, found.image);
  return removeRecords(store, found.image.id, found.records);
}

/**
 * Finds an image that may be removed by this name or ID. Throws `not-found`; `conflict` for an ambiguous ID and, without
 * `force`, for the ID of an image with names in several repositories.
 */
export async function checkRemoval(
  store: Store,
  nameOrId: string,
  { force }: { force?: boolean },
): Promise<FoundImage> {
  const found = await findImage(store, nameOrId);
  if (found.by === 'name') return found;
  const named = found.records.filter(({ name }) => !isDangling(name));
  if (!force && new Set(named.map(({ name }) => repositoryOf(name))).size > 1) {
    throw fail(
      'conflict',
      'store',
      `conflict: unable to delete ${nameOrId} (must be forced): it has names in several repositories, ${named.map(({ name }) => familiarName(name)).join(', ')}`,
      { hint: 'Remove the names one by one, or all of them with --force.' },
    );
  }
  return found;
}

function repositoryOf(name: string): string {
  const ref = referenceOf(name);
  return ref === undefined ? name : `${ref.domain}/${ref.path}`;
}

/** Removes a name, and with the last one the record that keeps the same image without a name. */
async function removeName(store: Store, record: ImageRecord, { id }: StoredImage): Promise<Removed> {
  const others = await otherRecords(store, record, id);
  const last = others.every(({ name }) => isDangling(name));
  return removeRecords(store, id, last ? [record, ...others] : [record]);
}

/** The other records of the same image, whatever manifests they point to. */
async function otherRecords(store: Store, record: ImageRecord, id: Digest): Promise<ImageRecord[]> {
  const same: ImageRecord[] = [];
  for (const other of await store.images.list()) {
    if (isDue()) await nextTurn();
    if (other.name === record.name) continue;
    const isSame =
      other.target.digest === record.target.digest ||
      (isDangling(other.name) && (await storedImages(store, other.name, other.target))[0]?.id === id);
    if (isSame) same.push(other);
  }
  return same;
}

/** Removes these records of an image, then collects everything that nothing refers to. */
async function removeRecords(store: Store, id: Digest, records: readonly ImageRecord[]): Promise<Removed> {
  const { removed, reclaimed } = await removeMany(store, [{ id, records }]);
  return { id, untagged: [], ...removed[0], reclaimed };
}

/**
 * Removes records of many images, then collects once. Tells of each image, in the same order, what was removed of it,
 * and how many bytes were freed in all.
 */
export async function removeMany(
  store: Store,
  images: readonly { id: Digest; records: readonly ImageRecord[] }[],
): Promise<{ removed: Omit<Removed, 'reclaimed'>[]; reclaimed: number }> {
  const names = images.flatMap(({ records }) => records.map(({ name }) => name));
  const { reclaimed } = await withReserve(store.root, () =>
    store.gc(async () => {
      for (const name of names) {
        if (isDue()) await nextTurn();
        await store.images.delete(name);
      }
    }),
  );
  fillReserve(store.root);
  const told = await idsOfAll(store);
  const removed = images.map(({ id, records }) => {
    // An image that was kept several times is deleted once.
    const deleted = told.has(id) ? undefined : id;
    told.add(id);
    const untagged = records.filter(({ name }) => !isDangling(name)).map(({ name }) => familiarName(name));
    return { id, untagged, deleted };
  });
  return { removed, reclaimed };
}

/** The IDs of all images that are in a store, and the digests that their names point to. */
async function idsOfAll(store: Store): Promise<Set<Digest>> {
  const ids = new Set<Digest>();
  for (const [{ name, target }] of await recordsByTarget(store)) {
    if (isDue()) await nextTurn();
    const images = await storedImages(store, name, target);
    if (images.length > 0) ids.add(target.digest);
    for (const { id } of images) ids.add(id);
  }
  return ids;
}

/** Removes all images that are kept without a name. Returns the IDs of those removed, and the bytes freed. */
export async function removeNameless(store: Store): Promise<{ ids: Digest[]; reclaimed: number }> {
  const images: { id: Digest; records: ImageRecord[] }[] = [];
  for (const record of await store.images.list()) {
    if (!isDangling(record.name)) continue;
    const [image] = await storedImages(store, record.name, record.target);
    images.push({ id: image?.id ?? record.target.digest, records: [record] });
  }
  if (images.length === 0) return { ids: [], reclaimed: 0 };
  const { removed, reclaimed } = await removeMany(store, images);
  return { ids: removed.flatMap(({ deleted }) => deleted ?? []), reclaimed };
}

interface RemovedPlatforms {
  /** The ID of the image that was named. */
  id: Digest;
  /** The digests of the removed manifests. */
  manifests: Digest[];
  /** The names that pointed to nothing else, as people write them. */
  untagged: string[];
}

/**
 * Removes some platforms of an image and keeps the others. Their manifests are removed from all images that have them;
 * names that are left with nothing are removed too. Throws `not-found` when one of the platforms is not here, and
 * removes nothing then.
 */
export async function removePlatforms(
  store: Store,
  nameOrId: string,
  platforms: readonly Platform[],
): Promise<RemovedPlatforms> {
  const { image, record } = await findImage(store, nameOrId);
  const images = await storedImages(store, record.name, record.target);
  const manifests = platforms.map((platform) => imageFor(platform, images, nameOrId).manifest.digest);
  const gone = [...new Set(manifests)];
  const isWhole = async ([{ name, target }]: [ImageRecord, ...ImageRecord[]]) =>
    (await storedImages(store, name, target)).length > 0;
  const before: Awaited<ReturnType<typeof recordsByTarget>> = [];
  for (const records of await recordsByTarget(store)) if (await isWhole(records)) before.push(records);
  for (const digest of gone) await store.content.delete(digest);
  const untagged: string[] = [];
  for (const records of before) {
    if (await isWhole(records)) continue;
    for (const { name } of records) {
      await store.images.delete(name);
      if (!isDangling(name)) untagged.push(familiarName(name));
    }
  }
  await store.gc();
  return { id: image.id, manifests: gone, untagged };
}
