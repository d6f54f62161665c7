/** `GET /images/{name}/json` and `/history`. */
import { inspectImage } from '../../../images/inspect.ts';
import { findImage } from '../../../images/stored.ts';
import { chainId } from '../../../oci/digest.ts';
import type { History } from '../../../oci/types.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { manifestsOf } from '../manifests.ts';

export const imageLookRoutes: Route[] = [
  { method: 'GET', path: '/images/*', suffix: '/json', scopes: ['images:read'], handle: inspect },
  { method: 'GET', path: '/images/*', suffix: '/history', scopes: ['images:read'], handle: history },
];

async function inspect({ host, name, query, version }: Call) {
  const { store } = host.engine;
  const { Descriptor, ...image } = await inspectImage(store, name);
  const config = image.Config;
  const json: Record<string, unknown> = {
    ...image,
    // Clients that index these find them, whatever the image says.
    Config: { ...config, Env: config.Env ?? null, Cmd: config.Cmd ?? null, Labels: config.Labels ?? null },
  };
  if (isBefore(version, '1.44')) json.VirtualSize = image.Size;
  if (!isBefore(version, '1.48')) json.Descriptor = Descriptor;
  if (query.bool('manifests') && !isBefore(version, '1.48')) {
    const { image: found } = await findImage(store, name);
    json.Manifests = await manifestsOf(store, { images: [found] });
  }
  return { json };
}

/** docker's HistoryResponseItem, newest first; only the newest has the image's ID, as with BuildKit's images. */
async function history({ host, name }: Call) {
  const { store } = host.engine;
  const { image, records } = await findImage(store, name);
  const tags = (await inspectImage(store, name)).RepoTags;
  const { layers } = image.document;
  const diffIds = image.config.rootfs.diff_ids;
  const sizeOf = async (at: number): Promise<number> => {
    const chain = chainId(diffIds.slice(0, at + 1));
    const snapshot = chain === undefined ? undefined : await store.snapshots.byChain(chain);
    return snapshot === undefined
      ? (layers[at]?.size ?? 0)
      : (await store.snapshots.usage(snapshot.key)).size;
  };
  const entries: History[] = image.config.history ?? diffIds.map(() => ({}));
  let layer = 0;
  const json: Record<string, unknown>[] = [];
  for (const entry of entries) {
    const created = Date.parse(entry.created ?? '');
    json.push({
      Id: '<missing>',
      Created: Number.isNaN(created) ? 0 : Math.floor(created / 1000),
      CreatedBy: entry.created_by ?? '',
      Tags: null,
      Size: entry.empty_layer === true ? 0 : await sizeOf(layer++),
      Comment: entry.comment ?? '',
    });
  }
  json.reverse();
  const [newest] = json;
  if (newest !== undefined) {
    newest.Id = image.id;
    newest.Tags = records.length > 0 && tags.length > 0 ? tags : null;
  }
  return { json };
}
