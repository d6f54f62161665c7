/** `keep=N` and `max-size=SIZE` of `--cache-to`: which older exports of a cache stay. Pure. */
import { fail } from '../../errors/index.ts';
import { type Descriptor, type Digest, type Index, isDigest, type Manifest } from '../../oci/index.ts';
import { parseBool, ramInBytes } from '../../words/index.ts';
import type { CacheSpec } from '../types.ts';

/** Which exports stay. The newest always does. */
export interface KeepRule {
  /** The newest so many. */
  count?: number;
  /** Of these, the newest whose blobs together have so many bytes at most. */
  bytes?: number;
}

export const keepAttrs: readonly string[] = ['keep', 'max-size'];

/** The annotation of a manifest with the digests of those before it, newest first, with spaces between them. */
export const olderAnnotation = 'drydock.cache.older';
/** The annotation of a manifest in a client's folder with the name that it is an export of. */
export const exportOfAnnotation = 'drydock.cache.export-of';
/** The most older exports that a manifest names. */
export const mostOlder = 500;

/** The exports before a manifest, newest first, as it tells them. */
export function olderIn({ annotations }: Pick<Manifest, 'annotations'>): Digest[] {
  const text: unknown = annotations?.[olderAnnotation];
  return typeof text === 'string' ? text.split(' ').filter(isDigest).slice(0, mostOlder) : [];
}

/** The blobs that a manifest, or an index of layers, names; none for another document. */
export function namedBy(content: Partial<Manifest & Index>): KeptBlob[] {
  const listed = (value: unknown) => (Array.isArray(value) ? (value as Partial<Descriptor>[]) : []);
  const { config, layers, manifests } = content ?? {};
  return [config, ...listed(layers), ...listed(manifests)].flatMap((each) => {
    const { digest, size = 0 } = each ?? {};
    return typeof digest === 'string' && isDigest(digest) ? [{ digest, size }] : [];
  });
}

/** What an export consists of. */
export interface KeptBlob {
  digest: Digest;
  size: number;
}

const most = 1000;

/** Reads the rule; undefined when there is none. Throws `invalid` and, for places that cannot have one, `unsupported`. */
export function readKeep({ type, attrs }: CacheSpec): KeepRule | undefined {
  const { keep, 'max-size': size } = attrs;
  if (keep === undefined && size === undefined) return undefined;
  const name = keep === undefined ? 'max-size' : 'keep';
  if (type === 'gha' || type === 'inline') {
    throw fail('unsupported', 'cache', `cache-to type=${type}: ${name}= is not supported`, {
      hint:
        type === 'gha'
          ? 'GitHub removes by itself what was not used for 7 days, and what is above 10 GB.'
          : 'The cache is a part of the image, which is removed with it.',
    });
  }
  if (type === 'local' && parseBool(attrs.reset ?? '') === true) {
    throw fail('invalid', 'cache', `cache-to type=local: reset=true and ${name}= exclude each other`);
  }
  const rule: KeepRule = {};
  if (keep !== undefined) {
    const count = /^[1-9]\d{0,3}$/.test(keep) ? Number(keep) : Number.NaN;
    if (!(count <= most)) {
      throw fail('invalid', 'cache', `cache-to type=${type}: keep= is a number of exports, 1 to ${most}`);
    }
    rule.count = count;
  }
  if (size !== undefined) {
    const bytes = ramInBytes(size);
    if (bytes === undefined || bytes <= 0) {
      throw fail('invalid', 'cache', `cache-to type=${type}: max-size= is no size, such as 500MB or 10GB`);
    }
    rule.bytes = bytes;
  }
  return rule;
}

/**
 * How many of the exports stay, newest first. A blob that several exports have counts once.
 *
 *     howMany([[a, b], [b, c], [d]], { count: 2 }) // 2
 */
export function howMany(exports: readonly (readonly KeptBlob[])[], { count, bytes }: KeepRule): number {
  const within = Math.min(exports.length, count ?? exports.length);
  if (bytes === undefined) return within;
  const counted = new Set<Digest>();
  let total = 0;
  for (const [at, blobs] of exports.slice(0, within).entries()) {
    for (const { digest, size } of blobs) {
      if (counted.has(digest)) continue;
      counted.add(digest);
      total += size;
    }
    if (total > bytes) return Math.max(at, 1);
  }
  return within;
}
