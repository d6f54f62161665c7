/** `POST /images/{name}/tag`, `DELETE /images/{name}` and `POST /images/prune`. */
import { removeImage } from '../../../images/remove.ts';
import { findImage } from '../../../images/stored.ts';
import { tagImage } from '../../../images/tag.ts';
import { familiarName } from '../../../oci/reference.ts';
import { apiError } from '../http/errors.ts';
import { boolFilter, labelsMatch, readFilters, readTime } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';
import { listedImages } from '../images.ts';

export const imageChangeRoutes: Route[] = [
  { method: 'POST', path: '/images/*', suffix: '/tag', scopes: ['images:write'], handle: tag },
  { method: 'DELETE', path: '/images/*', scopes: ['images:write'], handle: remove },
  { method: 'POST', path: '/images/prune', scopes: ['images:write'], handle: prune },
];

async function tag({ host, name, query }: Call) {
  const repo = query.text('repo');
  if (repo === '') throw apiError('invalid', 'the parameter repo is missing');
  const target = query.text('tag') === '' ? repo : `${repo}:${query.text('tag')}`;
  const record = await tagImage(host.engine.store, name, target);
  const { image } = await findImage(host.engine.store, record.name);
  host.events.emit('image', 'tag', image.id, { name: familiarName(record.name) });
  return { status: 201 };
}

async function remove({ host, name, query }: Call) {
  const { untagged, deleted } = await removeImage(host.engine.store, name, { force: query.bool('force') });
  for (const each of untagged) host.events.emit('image', 'untag', deleted ?? each, { name: each });
  if (deleted !== undefined) host.events.emit('image', 'delete', deleted, { name: deleted });
  const json: object[] = untagged.map((each) => ({ Untagged: each }));
  if (deleted !== undefined) json.push({ Deleted: deleted });
  return { json };
}

/** Without `dangling=false`, only images without a name; nothing here runs containers that could use one. */
async function prune({ host, query }: Call) {
  const { store } = host.engine;
  const filters = readFilters(query, ['dangling', 'label', 'label!', 'until']);
  const dangling = boolFilter(filters, 'dangling') ?? true;
  const until = filters.get('until')?.map((text) => readTime(text, 'until'));
  const deleted: object[] = [];
  let reclaimed = 0;
  for (const image of await listedImages(store)) {
    if (dangling && !image.dangling) continue;
    if (!labelsMatch(filters, image.labels) || until?.some((time) => image.created >= time)) continue;
    const gone = await removeImage(store, image.id, { force: true });
    reclaimed += gone.reclaimed;
    for (const each of image.tags) deleted.push({ Untagged: each });
    if (gone.deleted !== undefined) deleted.push({ Deleted: gone.deleted });
  }
  host.events.emit('image', 'prune', '', { reclaimed: String(reclaimed) });
  return { json: { ImagesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed } };
}
