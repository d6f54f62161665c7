/** `POST /images/{name}/tag`, `DELETE /images/{name}`, `POST /images/prune`. */
import { findImage } from '../../../distribution/index.ts';
import { toDrydockError } from '../../../errors/index.ts';
import {
  listedImages,
  pruneImageFilters,
  pruneImages,
  removeImage,
  removePlatforms,
  tagImage,
} from '../../../images/index.ts';
import { familiarName } from '../../../oci/index.ts';
import { isDue, nextTurn } from '../../../workers/index.ts';
import { pruneOnlyThere } from '../behind/images-there.ts';
import { imagesInUse } from '../behind/merge.ts';
import { pruneThere, type RemovedRow, removeThere } from '../behind/remove-there.ts';
import { apiError } from '../http/errors.ts';
import { readPlatform } from '../http/platform.ts';
import { pruned } from '../http/pruned.ts';
import { readFilters } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { eventImage } from '../images.ts';

export const imageChangeRoutes: Route[] = [
  { method: 'POST', path: '/images/*', suffix: '/tag', scopes: ['images:write'], handle: tag },
  { method: 'DELETE', path: '/images/*', scopes: ['images:write'], handle: remove },
  { method: 'POST', path: '/images/prune', scopes: ['images:write'], handle: prune },
];

async function tag({ host, name, query }: Call) {
  const repository = query.text('repo');
  if (repository === '') throw apiError('invalid', 'invalid reference format: repo is missing');
  const text = query.text('tag');
  const record = await tagImage(host.engine.store, name, text === '' ? repository : `${repository}:${text}`);
  const { image } = await findImage(host.engine.store, record.name);
  host.events.emitImage('tag', eventImage(image), familiarName(record.name));
  return { status: 201 };
}

async function remove({ host, name, query, version, signal, authority }: Call) {
  if (name.trim() === '') throw apiError('invalid', 'image name cannot be blank');
  const { store } = host.engine;
  const force = query.bool('force');
  const platforms = isBefore(version, '1.50')
    ? []
    : query.all('platforms').flatMap((text) => readPlatform(text) ?? []);
  if (platforms.length > 0) {
    if (!force) {
      throw apiError(
        'invalid',
        'Content will be removed from all images referencing this variant. Use --force to force delete.',
      );
    }
    const { id, manifests, untagged } = await removePlatforms(store, name, platforms);
    for (const each of untagged) host.events.emit('image', 'untag', id, { name: each });
    for (const digest of manifests) host.events.emit('image', 'delete', digest, { name: digest });
    const rows = [
      ...untagged.map((each) => ({ Untagged: each })),
      ...manifests.map((Deleted) => ({ Deleted })),
    ];
    return { json: rows };
  }
  // A container may use the engine's copy: then the image stays here, too.
  const there = host.behind && (await removeThere(host, host.behind, authority, { name, force }, signal));
  try {
    return { json: await told(host, await removeImage(store, name, { force })) };
  } catch (err) {
    // It was the engine's alone, or is gone with the engine's copy, as both keep their images in one containerd.
    if (there === undefined || toDrydockError(err).code !== 'not-found') throw err;
    const id = there.find(({ Deleted }) => Deleted !== undefined)?.Deleted;
    const untagged = there.flatMap(({ Untagged }) => Untagged ?? []);
    await told(host, { id: id ?? name, untagged, deleted: id });
    return { json: there };
  }
}

/** Sends the events of a removal, and returns the answer's list. */
async function told(
  host: Call['host'],
  { id, untagged, deleted }: { id: string; untagged: readonly string[]; deleted?: string },
): Promise<RemovedRow[]> {
  for (const name of untagged) {
    if (isDue()) await nextTurn();
    host.events.emit('image', 'untag', id, { name });
  }
  if (deleted !== undefined) host.events.emit('image', 'delete', deleted, { name: untagged[0] ?? deleted });
  return [
    ...untagged.map((name) => ({ Untagged: name })),
    ...(deleted === undefined ? [] : [{ Deleted: deleted }]),
  ];
}

/**
 * Removes images, the engine's copies of them, and the images that the engine alone has. Those stay that containers of
 * the engine were made from.
 */
async function prune(call: Call) {
  const { host, query, authority, signal } = call;
  const filters = readFilters(query, pruneImageFilters);
  const used = host.behind === undefined ? undefined : await imagesInUse(host.behind, signal);
  const before = host.behind && (await listedImages(host.engine.store));
  const { removed, reclaimed } = await pruneImages(host.engine.store, filters, used);
  if (host.behind !== undefined && before !== undefined && removed.length > 0) {
    const targets = new Map(
      before.map(({ id, records }) => [id, records.map(({ target }) => target.digest)]),
    );
    const pruned = removed.map(({ id, untagged }) => ({
      names: untagged,
      ids: [id, ...(targets.get(id) ?? [])],
    }));
    await pruneThere(host, host.behind, authority, pruned, signal);
  }
  const gone: RemovedRow[] = [];
  for (const image of removed) for (const item of await told(host, image)) gone.push(item);
  const there =
    host.behind !== undefined && authority.scopes.has('engine:write')
      ? await pruneOnlyThere(host, host.behind, query.text('filters'), signal)
      : undefined;
  gone.push(...(there?.rows ?? []));
  const all = reclaimed + (there?.reclaimed ?? 0);
  host.events.emit('image', 'prune', '', { reclaimed: String(all) });
  const report = { ImagesDeleted: gone.length === 0 ? null : gone, SpaceReclaimed: all };
  return pruned(
    call,
    report,
    gone.map(({ Untagged, Deleted }) => ({
      id: Untagged ?? Deleted ?? '',
      status: Untagged === undefined ? 'Deleted' : 'Untagged',
    })),
  );
}
