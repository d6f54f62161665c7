/** `GET /images/json`. */
import { findImage } from '../../../distribution/index.ts';
import { imageSize } from '../../../images/index.ts';
import { familiarName, parseReference } from '../../../oci/index.ts';
import { compileGlob } from '../../../patterns/index.ts';
import type { Store } from '../../../store/index.ts';
import { inTurns, isDue, nextTurn } from '../../../workers/index.ts';
import { boolFilter, labelsMatch, readFilters, readTime } from '../http/query.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { type ListedImage, layerSizes, listedImages } from '../images.ts';
import { manifestsOf } from '../manifests.ts';

export const imageListRoutes: Route[] = [
  { method: 'GET', path: '/images/json', scopes: ['images:read'], handle: list },
];

const known = ['dangling', 'label', 'label!', 'before', 'since', 'reference', 'until'];

async function list({ host, query, version }: Call) {
  const { store } = host.engine;
  const filters = readFilters(query, known);
  const all = await listedImages(store);
  const dangling = boolFilter(filters, 'dangling');
  // Clients of API versions before 1.25 name an image this way.
  const old = query.text('filter');
  const references = [...(filters.get('reference') ?? []), ...(old === '' ? [] : [old])].map(
    referenceMatches,
  );
  const until = filters.get('until')?.map((text) => readTime(text, 'until'));
  const before = await creationTimes(store, filters.get('before'));
  const since = await creationTimes(store, filters.get('since'));
  const found: ListedImage[] = [];
  for (const image of all) {
    if (isDue()) await nextTurn();
    if (dangling !== undefined && image.dangling !== dangling) continue;
    if (!labelsMatch(filters, image.labels)) continue;
    if (until?.some((time) => image.created >= time)) continue;
    if (before.some((time) => image.created >= time) || since.some((time) => image.created <= time)) continue;
    const named = references.length === 0 ? image : await inTurns(referredTo(image, references));
    if (named !== undefined) found.push(named);
  }
  const shared = query.bool('shared-size') ? (await layerSizes(store, all)).shared : undefined;
  const json = await Promise.all(
    found.map(async (image) => ({
      ...summaryOf(image, {
        version,
        size: await imageSize(store, image.image),
        shared: shared?.get(image.id) ?? -1,
        containers: -1,
      }),
      ...(query.bool('manifests') && !isBefore(version, '1.47')
        ? { Manifests: await manifestsOf(store, image) }
        : {}),
    })),
  );
  return { json };
}

/**
 * The times at which the named images were made, in ms; one after the other, for each is looked for among all. Throws
 * `not-found`.
 */
async function creationTimes(store: Store, names: readonly string[] = []): Promise<number[]> {
  const times: number[] = [];
  for (const name of new Set(names)) {
    const { image } = await findImage(store, name);
    times.push(Date.parse(image.config.created ?? '') || 0);
    if (isDue()) await nextTurn();
  }
  return times;
}

/** The image with those of its names that fit; undefined when none does. */
function* referredTo(image: ListedImage, references: Reference[]): Generator<void, ListedImage | undefined> {
  const tags: string[] = [];
  const digests: string[] = [];
  for (const tag of image.tags) if (yield* fits(tag, references)) tags.push(tag);
  // Of a repository that was asked for, also by one of its tags; not of others that have the image too.
  const repositories = new Set(tags.map(repositoryOf));
  for (const digest of image.digests) {
    if (repositories.has(repositoryOf(digest)) || (yield* fits(digest, references))) digests.push(digest);
  }
  return tags.length === 0 && digests.length === 0 ? undefined : { ...image, tags, digests };
}

function* fits(name: string, references: Reference[]): Generator<void, boolean> {
  for (const matches of references) {
    yield;
    if (matches(name)) return true;
  }
  return false;
}

type Reference = ReturnType<typeof referenceMatches>;

function repositoryOf(reference: string): string {
  const { domain, path } = parseReference(reference);
  return `${domain}/${path}`;
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

/**
 * Whether a reference fits docker's `reference` pattern: with or without a tag, in the familiar form, with `*` and `?`
 * within a path component, as in Go's path.Match. Throws `invalid` for a malformed pattern.
 */
export function referenceMatches(pattern: string): (reference: string) => boolean {
  const test = compileGlob(pattern);
  return (reference) => {
    const forms = new Set([reference]);
    const { domain, path, tag, digest } = parseReference(reference);
    const name = familiarName(`${domain}/${path}`);
    forms.add(name);
    forms.add(`${domain}/${path}`);
    if (tag !== undefined) forms.add(`${domain}/${path}:${tag}`);
    if (digest !== undefined) forms.add(`${domain}/${path}@${digest}`);
    return [...forms].some(test);
  };
}
