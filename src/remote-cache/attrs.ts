/**
 * Attributes of cache imports and exports, read and checked. Pure.
 * https://docs.docker.com/build/cache/backends/
 */

import { fail, nearest } from '../errors/index.ts';
import type { Compression } from '../layer/index.ts';
import { type Digest, familiarName, isDigest, normalizeName } from '../oci/index.ts';
import { parseBool, readCompression } from '../words/index.ts';
import type { CacheSpec } from './types.ts';

/** The place of a cache. */
type CachePlace =
  | { type: 'registry' /** Normalized reference. */; ref: string; insecure: boolean }
  | { type: 'local' /** A folder at the client, in the client's own words. */; folder: string };

export type ImportWant = CachePlace & {
  /** The name that progress shows. */
  name: string;
  /** The digest of the manifest, in a folder. */
  digest?: Digest;
};

/** A cache that is to be written, with its attributes checked. */
export interface ExportWant {
  /** Undefined: inside the image's config. */
  place: CachePlace | undefined;
  name: string;
  /** `min`: the results that are the image's own layers; `max`: all. */
  mode: 'min' | 'max';
  compression: Compression;
  forceCompression: boolean;
  ociTypes: boolean;
  /** Writes an image manifest rather than an index. Some registries take it that refuse an index of layers. */
  imageManifest: boolean;
  /** Goes on with the build when the export fails. */
  ignoreError: boolean;
  /** The attributes that are not known; newer clients may send some. */
  unknown: string[];
}

const types = ['registry', 'inline', 'local'] as const;
/** The backends of other builders. */
const foreign = ['gha', 's3', 'azblob'];
const exportAttrs = [
  'ref',
  'dest',
  'tag',
  'mode',
  'compression',
  'compression-level',
  'force-compression',
  'oci-mediatypes',
  'image-manifest',
  'ignore-error',
  'registry.insecure',
];

/** Reads a cache to import. Throws `invalid` or `unsupported` (hop `cache`). */
export function parseImport({ type, attrs }: CacheSpec): ImportWant {
  const kind = typeOf(type, 'importer');
  if (kind === 'local') {
    const { src, digest } = attrs;
    if (!src) throw fail('invalid', 'cache', 'local cache importer requires src');
    if (!digest) throw fail('not-found', 'cache', `there is no cache in ${src}`);
    if (!isDigest(digest)) {
      throw fail('invalid', 'cache', `local cache importer: ${JSON.stringify(digest)} is no sha256 digest`);
    }
    return { type: 'local', folder: src, digest, name: `local:${src}` };
  }
  // An inline cache is part of an image: it is named as one.
  const ref = refOf(attrs.ref, 'importer');
  return { type: 'registry', ref, insecure: yes(attrs, 'registry.insecure', false), name: familiarName(ref) };
}

/**
 * Reads a cache to export. Throws `invalid` or `unsupported` (hop `cache`); `ignoresError` says whether they matter.
 */
export function parseExport({ type, attrs }: CacheSpec): ExportWant {
  const kind = typeOf(type, 'exporter');
  const { mode = 'min' } = attrs;
  if (mode !== 'min' && mode !== 'max') {
    throw fail('invalid', 'cache', `cache-to type=${type}: unknown mode ${JSON.stringify(mode)}`, {
      hint: 'Modes: min (layers of the image), max (of all steps).',
    });
  }
  const place = placeOf(kind, attrs);
  const ociTypes = yes(attrs, 'oci-mediatypes', true);
  const imageManifest = yes(attrs, 'image-manifest', ociTypes);
  if (imageManifest && !ociTypes) {
    throw fail('invalid', 'cache', `cache-to type=${type}: image-manifest=true needs oci-mediatypes=true`);
  }
  return {
    place,
    name:
      place === undefined ? 'the image' : place.type === 'registry' ? familiarName(place.ref) : place.folder,
    mode,
    compression: compressionOf(type, attrs),
    forceCompression: yes(attrs, 'force-compression', false),
    ociTypes,
    imageManifest,
    ignoreError: yes(attrs, 'ignore-error', false),
    unknown: kind === 'inline' ? [] : Object.keys(attrs).filter((name) => !exportAttrs.includes(name)),
  };
}

/** Whether the build goes on when the export there fails, for whatever reason. */
export function ignoresError({ attrs }: CacheSpec): boolean {
  return parseBool(attrs['ignore-error'] ?? '') === true;
}

function placeOf(kind: (typeof types)[number], attrs: CacheSpec['attrs']): CachePlace | undefined {
  if (kind === 'inline') return undefined;
  if (kind === 'local') {
    if (!attrs.dest) throw fail('invalid', 'cache', 'local cache exporter requires dest');
    return { type: 'local', folder: attrs.dest };
  }
  const ref = refOf(attrs.ref, 'exporter');
  return { type: 'registry', ref, insecure: yes(attrs, 'registry.insecure', false) };
}

function typeOf(type: string, what: string): (typeof types)[number] {
  const kind = types.find((known) => known === type);
  if (kind !== undefined) return kind;
  if (foreign.includes(type)) {
    throw fail('unsupported', 'cache', `the cache ${what} type=${type} is not supported`, {
      hint: `Types: ${types.join(', ')}.`,
    });
  }
  const near = nearest(type, types);
  throw fail('invalid', 'cache', `unknown cache ${what}: ${JSON.stringify(type)}`, {
    hint: near === undefined ? `Types: ${types.join(', ')}.` : `Did you mean ${near}?`,
  });
}

function refOf(ref: string | undefined, what: string): string {
  if (!ref) throw fail('invalid', 'cache', `registry cache ${what} requires ref`);
  return normalizeName(ref);
}

/** A truth value; '' is true. */
function yes(attrs: CacheSpec['attrs'], name: string, otherwise: boolean): boolean {
  const text = attrs[name];
  if (text === undefined) return otherwise;
  const value = text === '' ? true : parseBool(text);
  if (value !== undefined) return value;
  throw fail('invalid', 'cache', `non-bool value ${JSON.stringify(text)} specified for ${name}`);
}

function compressionOf(type: string, attrs: CacheSpec['attrs']): Compression {
  const read = readCompression(attrs, {
    kind: (kind) =>
      fail(
        kind === 'estargz' ? 'unsupported' : 'invalid',
        'cache',
        `cache-to type=${type}: compression ${JSON.stringify(kind)} is not supported`,
        { hint: 'Compressions: uncompressed, gzip, zstd.' },
      ),
    level: (text, kind, highest) =>
      fail('invalid', 'cache', `non-integer value ${JSON.stringify(text)} specified for compression-level`, {
        hint: kind === 'uncompressed' ? 'Leave it out.' : `${kind} has the levels 0 to ${highest}.`,
      }),
  });
  return read ?? { type: 'gzip' };
}
