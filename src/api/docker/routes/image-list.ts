/** `GET /images/json`. */
import { reachOf } from '../../../auth/index.ts';
import {
  filterImages,
  imageFilters,
  imageSize,
  type ListedImage,
  listedImages,
} from '../../../images/index.ts';
import { type EngineSummary, imagesThere, seenBehind } from '../behind/images-there.ts';
import { imagesInUse } from '../behind/merge.ts';
import { readFilters } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';
import { parseTarget } from '../http/target.ts';
import { isBefore } from '../http/version.ts';
import { Identities } from '../identity.ts';
import { layerSizes } from '../images.ts';
import { manifestsOf } from '../manifests.ts';

export const imageListRoutes: Route[] = [
  { method: 'GET', path: '/images/json', scopes: ['images:read'], handle: list },
];

async function list({ host, query, version, authority, request, signal }: Call) {
  const { store } = host.engine;
  const filters = new Map(readFilters(query, imageFilters));
  // Clients of API versions before 1.25 name an image this way.
  const old = query.text('filter');
  if (old !== '') filters.set('reference', [...(filters.get('reference') ?? []), old]);
  const all = await listedImages(store);
  const found = await filterImages(store, filters, all);
  const shared = query.bool('shared-size') ? (await layerSizes(store, all)).shared : undefined;
  const used =
    host.behind === undefined || isBefore(version, '1.51')
      ? undefined
      : await imagesInUse(host.behind, signal);
  const containersOf = ({ id, target }: ListedImage) =>
    isBefore(version, '1.51') ? -1 : (used?.get(id) ?? used?.get(target.digest) ?? 0);
  const identities =
    query.bool('identity') && !isBefore(version, '1.54')
      ? new Identities(host, reachOf(authority))
      : undefined;
  const json = await Promise.all(
    found.map(async (image) => ({
      ...summaryOf(image, {
        version,
        size: await imageSize(store, image.image),
        shared: shared?.get(image.id) ?? -1,
        containers: containersOf(image),
      }),
      ...((query.bool('manifests') && !isBefore(version, '1.47')) || identities !== undefined
        ? { Manifests: await manifestsOf(store, image, identities) }
        : {}),
    })),
  );
  const { search } = parseTarget(request.url ?? '');
  const there = await imagesThere(seenBehind(host, authority), all, { version, search, signal });
  return { json: newestFirst(json, there) };
}

/** Both lists as one, newest first. */
function newestFirst(ours: Record<string, unknown>[], theirs: readonly EngineSummary[]): object[] {
  if (theirs.length === 0) return ours;
  const created = ({ Created }: { Created?: unknown }) => Number(Created);
  return [...ours, ...theirs].sort((a, b) => created(b) - created(a));
}

/** docker's ImageSummary. */
export function summaryOf(
  image: ListedImage,
  more: { version: string; size: number; shared: number; containers: number },
): Record<string, unknown> {
  const old = isBefore(more.version, '1.43');
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: image.tags.length === 0 && old ? ['<none>:<none>'] : image.tags,
    RepoDigests: image.digests.length === 0 && old ? ['<none>@<none>'] : image.digests,
    Created: Math.floor(image.created / 1000),
    Size: more.size,
    SharedSize: more.shared,
    ...(isBefore(more.version, '1.44') ? { VirtualSize: more.size } : {}),
    Labels: image.labels,
    Containers: more.containers,
    ...(isBefore(more.version, '1.48') ? {} : { Descriptor: image.target }),
  };
}
