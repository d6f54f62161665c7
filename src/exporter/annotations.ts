/**
 * `annotation[-manifest|-index|-manifest-descriptor|-index-descriptor][\[platform\]].KEY=VALUE`.
 * https://docs.docker.com/build/metadata/annotations/
 */
import { formatPlatform } from '../oci/platform.ts';
import type { Platform } from '../oci/types.ts';

type Place = 'manifest' | 'index' | 'manifest-descriptor' | 'index-descriptor';

export type Annotations = { place: Place; platform?: string; key: string; value: string }[];

const pattern =
  /^annotation(?:-(manifest|index|manifest-descriptor|index-descriptor))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)$/;

/** An attribute as an annotation; undefined when it is none. */
export function parseAnnotation(name: string, value: string): Annotations[number] | undefined {
  const match = pattern.exec(name);
  if (match === null) return undefined;
  return {
    place: (match[1] as Place | undefined) ?? 'manifest',
    platform: match[2],
    key: match[3] ?? '',
    value,
  };
}

/** Annotations of one place; undefined when there are none. Those for a platform win over those for all. */
export function annotationsAt(
  all: Annotations,
  place: Place,
  platform?: Platform,
): Record<string, string> | undefined {
  const name = platform === undefined ? undefined : formatPlatform(platform);
  const here = all.filter((a) => a.place === place && (a.platform === undefined || a.platform === name));
  if (here.length === 0) return undefined;
  here.sort((a, b) => Number(a.platform !== undefined) - Number(b.platform !== undefined));
  return Object.fromEntries(here.map(({ key, value }) => [key, value]));
}
