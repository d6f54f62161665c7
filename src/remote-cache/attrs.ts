/**
 * Attributes of cache imports and exports, read and checked. Pure.
 * https://docs.docker.com/build/cache/backends/
 */

import { fail, nearest } from '../errors/index.ts';
import { type Compression, isChunked } from '../layer/index.ts';
import { type Digest, familiarName, isDigest, normalizeName } from '../oci/index.ts';
import { compressionTypes, parseBool, readCompression } from '../words/index.ts';
import { type KeepRule, keepAttrs, readKeep } from './keeping/rule.ts';
import { type MountChoice, readChoice } from './mounts/choice.ts';
import { type GhaPlace, ghaAttrs, ghaPlace } from './shelf/gha-place.ts';
import { azurePlace, type BucketPlace, bucketAttrs, s3Place } from './shelf/place.ts';
import type { CacheSpec } from './types.ts';

/** The text that tells the place of a cache from others: `registry:reg.example/app:cache`, `local:/folder`, `archive:/a.tar`. */
export function placeText(place: CachePlace): string {
  if (place.type === 'registry') return `registry:${place.ref}`;
  if (place.type === 'local') {
    return place.archive === undefined ? `local:${place.folder}` : `archive:${place.archive}`;
  }
  return place.type === 'gha'
    ? `gha:${place.url}/${place.scope}`
    : `${place.address}/${place.prefixes.blobs}`;
}

/** The place of a cache. */
type CachePlace =
  | { type: 'registry' /** Normalized reference. */; ref: string; insecure: boolean }
  | {
      type: 'local';
      /** A folder at the client, in the client's own words. */
      folder: string;
      /** The name in the folder that the client gives an export. */
      tag?: string;
      /** The file that the folder is the content of, while a command packs or unpacks it: the folder itself goes then. */
      archive?: string;
    }
  | ShelfPlace;

/** The place of a cache without manifests. */
export type ShelfPlace = BucketPlace | GhaPlace;

export type ImportWant = CachePlace & {
  /** The name that progress shows. */
  name: string;
  /** The digest of the manifest, in a folder. */
  digest?: Digest;
  /** The cache mounts that are taken from it. */
  mounts: MountChoice;
  /** Brings these mounts back at once, in the place of those that are here. */
  restoreMounts: boolean;
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
  /** The cache mounts that are written with it. */
  mounts: MountChoice;
  /** Goes on with the build when the export fails. */
  ignoreError: boolean;
  /** Which older exports of it stay; undefined: all. */
  keep: KeepRule | undefined;
  /** The attributes that are not known; newer clients may send some. */
  unknown: string[];
}

const types = ['registry', 'inline', 'local', 'gha', 's3', 'azblob'] as const;
/** The attributes of exports besides those of their places. */
const exportAttrs = [
  'mode',
  'compression',
  'compression-level',
  'force-compression',
  'oci-mediatypes',
  'image-manifest',
  'ignore-error',
  'mounts',
  ...keepAttrs,
];
/** The attributes of each kind of place. */
const placeAttrs: Readonly<Record<(typeof types)[number], readonly string[]>> = {
  ...{
    registry: ['ref', 'registry.insecure'],
    local: ['dest', 'tag', 'reset', 'archive'],
    inline: [],
    gha: ghaAttrs,
  },
  ...bucketAttrs,
};

/** Reads a cache to import. Throws `invalid` or `unsupported` (hop `cache`). */
export function parseImport({ type, attrs }: CacheSpec): ImportWant {
  const kind = typeOf(type, 'importer');
  const mounts = {
    mounts: readChoice(attrs.mounts, 'all'),
    restoreMounts: yes(attrs, 'restore-mounts', false),
  };
  if (kind === 'local') {
    const { src, digest, archive } = attrs;
    if (!src) throw fail('invalid', 'cache', 'local cache importer requires src');
    if (!digest) throw fail('not-found', 'cache', `there is no cache in ${archive ?? src}`);
    if (!isDigest(digest)) {
      throw fail('invalid', 'cache', `local cache importer: ${JSON.stringify(digest)} is no sha256 digest`);
    }
    return { type: 'local', folder: src, archive, digest, name: archive ?? `local:${src}`, ...mounts };
  }
  const shelf = shelfPlace(kind, attrs);
  if (shelf !== undefined) return { ...shelf, name: placeName(shelf), ...mounts };
  // An inline cache is part of an image: it is named as one.
  const ref = refOf(attrs.ref, 'importer');
  const insecure = yes(attrs, 'registry.insecure', false);
  return { type: 'registry', ref, insecure, name: familiarName(ref), ...mounts };
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
  const compression = compressionOf(type, attrs);
  if (isChunked(compression) && !ociTypes) {
    const what = `compression=${compression.type} needs oci-mediatypes=true`;
    throw fail('invalid', 'cache', `cache-to type=${type}: ${what}`);
  }
  const mounts = readChoice(attrs.mounts, 'none');
  if (place === undefined && mounts !== 'none') {
    throw fail('invalid', 'cache', 'cache-to type=inline: cache mounts cannot be inside an image (mounts=)', {
      hint: 'Write them with --cache-to type=registry or type=local.',
    });
  }
  return {
    place,
    mounts,
    name: place === undefined ? 'the image' : placeName(place),
    mode,
    compression,
    forceCompression: yes(attrs, 'force-compression', false),
    ociTypes,
    imageManifest,
    ignoreError: yes(attrs, 'ignore-error', false),
    keep: keepOf({ type, attrs }, ociTypes),
    unknown: kind === 'inline' ? [] : unknownAttrs(kind, attrs),
  };
}

/** Which older exports stay. Our own command and library see to a client's folder, and send no such attribute. */
function keepOf(spec: CacheSpec, ociTypes: boolean): KeepRule | undefined {
  const keep = readKeep(spec);
  if (keep === undefined) return undefined;
  if (!ociTypes && (spec.type === 'registry' || spec.type === 'local')) {
    throw fail(
      'invalid',
      'cache',
      `cache-to type=${spec.type}: keep= and max-size= need oci-mediatypes=true`,
    );
  }
  return keep;
}

function unknownAttrs(kind: (typeof types)[number], attrs: CacheSpec['attrs']): string[] {
  return Object.keys(attrs).filter((name) => !exportAttrs.includes(name) && !placeAttrs[kind].includes(name));
}

/** What progress and errors call a place. It has no secret in it. */
function placeName(place: CachePlace): string {
  if (place.type === 'registry') return familiarName(place.ref);
  if (place.type === 'local') return place.archive ?? place.folder;
  if (place.type === 'gha') return `gha:${place.scope}`;
  return `${place.address}/${place.configs.join(';')}`;
}

/**
 * Whether a cache is one of GitHub's Actions, and this is no job of Actions. The same command is then used elsewhere, and
 * builds without that cache, as with docker buildx.
 */
export function isIdle({ type, attrs }: CacheSpec): boolean {
  return type === 'gha' && !attrs.token;
}

/** Whether the build goes on when the export there fails, for whatever reason. */
export function ignoresError({ attrs }: CacheSpec): boolean {
  return parseBool(attrs['ignore-error'] ?? '') === true;
}

/** Whether an import is to bring cache mounts back at once. The build fails when it does not. */
export function restoresMounts({ attrs }: CacheSpec): boolean {
  const text = attrs['restore-mounts'];
  return text === '' || parseBool(text ?? '') === true;
}

function placeOf(kind: (typeof types)[number], attrs: CacheSpec['attrs']): CachePlace | undefined {
  if (kind === 'inline') return undefined;
  if (kind === 'local') {
    if (!attrs.dest) throw fail('invalid', 'cache', 'local cache exporter requires dest');
    // The client, whose folder it is, empties it; here it is only checked.
    yes(attrs, 'reset', false);
    return { type: 'local', folder: attrs.dest, tag: attrs.tag || undefined, archive: attrs.archive };
  }
  const shelf = shelfPlace(kind, attrs);
  if (shelf !== undefined) return shelf;
  const ref = refOf(attrs.ref, 'exporter');
  return { type: 'registry', ref, insecure: yes(attrs, 'registry.insecure', false) };
}

function typeOf(type: string, what: string): (typeof types)[number] {
  const kind = types.find((known) => known === type);
  if (kind !== undefined) return kind;
  const near = nearest(type, types);
  throw fail('invalid', 'cache', `unknown cache ${what}: ${JSON.stringify(type)}`, {
    hint: near === undefined ? `Types: ${types.join(', ')}.` : `Did you mean ${near}?`,
  });
}

function shelfPlace(kind: (typeof types)[number], attrs: CacheSpec['attrs']): ShelfPlace | undefined {
  if (kind === 's3') return s3Place(attrs, process.env);
  if (kind === 'azblob') return azurePlace(attrs, process.env);
  return kind === 'gha' ? ghaPlace(attrs, process.env) : undefined;
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
        'invalid',
        'cache',
        `cache-to type=${type}: compression ${JSON.stringify(kind)} is not supported`,
        { hint: `Compressions: ${compressionTypes.join(', ')}.` },
      ),
    level: (text, kind, highest) =>
      fail('invalid', 'cache', `non-integer value ${JSON.stringify(text)} specified for compression-level`, {
        hint: kind === 'uncompressed' ? 'Leave it out.' : `${kind} has the levels 0 to ${highest}.`,
      }),
  });
  return read ?? { type: 'gzip' };
}
