/** docker's filters of images. */
import { findImage } from '../distribution/index.ts';
import { familiarName, parseReference } from '../oci/index.ts';
import { compileGlob } from '../patterns/index.ts';
import type { Store } from '../store/index.ts';
import { boolFilter, type Filters, labelsMatch, readTime } from '../words/index.ts';
import { inTurns, isDue, nextTurn } from '../workers/index.ts';

/** The names of the filters. */
export const imageFilters: readonly string[] = [
  ...['dangling', 'label', 'label!', 'before', 'since', 'reference', 'until'],
];

/** What filters ask of an image. */
interface FilteredImage {
  /** `app:1` */
  tags: string[];
  /** `app@sha256:…` */
  digests: string[];
  dangling: boolean;
  /** When it was made, in ms since the epoch; 0 when nobody knows. */
  created: number;
  labels: Record<string, string>;
}

/**
 * The images that fit all filters, each with those of its names that `reference` means. Throws `invalid` for a value
 * that cannot be, `not-found` for the image of `before` or `since`.
 *
 *     await filterImages(store, new Map([['reference', ['app:*']]]), await listedImages(store));
 */
export async function filterImages<T extends FilteredImage>(
  store: Store,
  filters: Filters,
  images: readonly T[],
): Promise<T[]> {
  const dangling = boolFilter(filters, 'dangling');
  const references = (filters.get('reference') ?? []).map(referenceMatches);
  const until = filters.get('until')?.map((text) => readTime(text, 'until'));
  const before = await creationTimes(store, filters.get('before'));
  const since = await creationTimes(store, filters.get('since'));
  const found: T[] = [];
  for (const image of images) {
    if (isDue()) await nextTurn();
    if (dangling !== undefined && image.dangling !== dangling) continue;
    if (!labelsMatch(filters, image.labels)) continue;
    if (until?.some((time) => image.created >= time)) continue;
    if (before.some((time) => image.created >= time) || since.some((time) => image.created <= time)) continue;
    const named = references.length === 0 ? image : await inTurns(referredTo(image, references));
    if (named !== undefined) found.push(named);
  }
  return found;
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
function* referredTo<T extends FilteredImage>(
  image: T,
  references: Reference[],
): Generator<void, T | undefined> {
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
