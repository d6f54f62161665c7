/**
 * `annotation[-manifest|-index|-manifest-descriptor|-index-descriptor][\[platform\]].KEY=VALUE`.
 * https://docs.docker.com/build/metadata/annotations/
 */
import { fail } from '../errors/index.ts';
import { formatPlatform, type Platform, parsePlatform } from '../oci/index.ts';
import { sortedByName } from '../words/index.ts';

type AnnotationPlace = 'manifest' | 'index' | 'manifest-descriptor' | 'index-descriptor';

export type Annotations = { place: AnnotationPlace; platform?: string; key: string; value: string }[];

const pattern =
  /^annotation(?:-(manifest|index|manifest-descriptor|index-descriptor))?(?:\[([A-Za-z0-9_./()%+-]+)\])?\.(\S+)$/;

/** An attribute as an annotation; undefined when it is none. */
export function parseAnnotation(name: string, value: string): Annotations[number] | undefined {
  const match = pattern.exec(name);
  if (match === null) return undefined;
  return {
    place: (match[1] as AnnotationPlace | undefined) ?? 'manifest',
    platform: match[2] === undefined ? undefined : formatPlatform(parsePlatform(match[2])),
    key: match[3] ?? '',
    value,
  };
}

/** The annotations in a frontend's metadata; the rest of the metadata is left out. */
export function parseAnnotations(all: Readonly<Record<string, string>> = {}): Annotations {
  return Object.entries(all).flatMap(([name, value]) => parseAnnotation(name, value) ?? []);
}

/** Throws `invalid` for an annotation of a platform that the image has not. */
export function checkAnnotations(all: Annotations, platforms: readonly Platform[]): void {
  const names = platforms.map(formatPlatform);
  const lost = all.find(({ platform }) => platform !== undefined && !names.includes(platform));
  if (lost === undefined) return;
  throw fail('invalid', 'export', `invalid annotation: no platform ${lost.platform} found in source`, {
    hint: `Platforms of this build: ${names.join(', ')}.`,
  });
}

/** Whether there are annotations for which docker's media types have no place. */
export function needOciTypes(all: Annotations): boolean {
  return all.some(({ place }) => place !== 'manifest');
}

/**
 * The annotations of one place, sorted by name, for clients send them in any order; undefined when there are none. Those
 * for a platform win over those for all.
 */
export function annotationsAt(
  all: Annotations,
  place: AnnotationPlace,
  platform?: Platform,
): Record<string, string> | undefined {
  const name = platform === undefined ? undefined : formatPlatform(platform);
  const here = all.filter((a) => a.place === place && (a.platform === undefined || a.platform === name));
  if (here.length === 0) return undefined;
  here.sort((a, b) => Number(a.platform !== undefined) - Number(b.platform !== undefined));
  return sortedByName(Object.fromEntries(here.map(({ key, value }) => [key, value])));
}
