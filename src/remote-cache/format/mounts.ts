/**
 * The cache mounts that travel with a cache: a document of ours among the layers of the cache's manifest, beside the
 * layers that it names. BuildKit reads the layers that its own config names and leaves the others alone. Pure.
 */
import { fail } from '../../errors/index.ts';
import { type Digest, isDigest, jsonExcess } from '../../oci/index.ts';

export const cacheMountsType = 'application/vnd.drydock.cachemounts.v1+json';

/** The most mounts of one cache, and the most layers of one mount. */
const mostMounts = 1000;
const mostLayers = 100;
const mostJson = { depth: 8, values: 200_000 };

/** A mount of the document. The tar of each layer has what is new or other than below it, and OCI's whiteouts. */
export interface MountRecord {
  /** The name of the mount: its ID, and the digest of what it was filled from. */
  key: string;
  /** When it was exported, ms since the epoch. */
  madeAt: number;
  /** The folder itself. */
  root: { mode: number; uid: number; gid: number };
  layers: readonly MountBlob[];
}

interface MountBlob {
  mediaType: string;
  digest: Digest;
  size: number;
  /** The digest of the uncompressed tar. */
  diffId: Digest;
}

export function encodeMounts(mounts: readonly MountRecord[]): Buffer {
  return Buffer.from(JSON.stringify({ mounts }));
}

/** Reads a document. Throws `corrupt` (hop `cache`) for one that is not sound. */
export function parseMounts(bytes: Uint8Array): MountRecord[] {
  const text = Buffer.from(bytes).toString('utf8');
  if (jsonExcess(text, mostJson) !== undefined) throw bad('they have more than any cache needs');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw fail('corrupt', 'cache', 'the cache mounts are not JSON', { cause });
  }
  const mounts = list(object(value).mounts);
  if (mounts.length > mostMounts) throw bad(`there are more than ${mostMounts}`);
  return mounts.map((mount): MountRecord => {
    const { key, madeAt, root, layers } = object(mount);
    if (typeof key !== 'string' || key === '' || key.length > 4096) throw bad('one has no name');
    const { mode, uid, gid } = object(root);
    const blobs = list(layers).map((layer): MountBlob => {
      const { mediaType, digest, size, diffId } = object(layer);
      if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest))
        throw bad('a layer has no sha256 digest');
      if (typeof diffId !== 'string' || !isDigest(diffId)) throw bad('a layer has no sha256 digest');
      return { mediaType, digest, size: whole(size), diffId };
    });
    if (blobs.length === 0 || blobs.length > mostLayers) throw bad(`one has ${blobs.length} layers`);
    return {
      key,
      madeAt: whole(madeAt),
      root: { mode: whole(mode) & 0o7777, uid: owner(uid), gid: owner(gid) },
      layers: blobs,
    };
  });
}

function bad(why: string) {
  return fail('corrupt', 'cache', `the cache mounts are not sound: ${why}`);
}

function object(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as never;
  throw bad('they are not JSON objects');
}

function list(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw bad('they are no list');
}

function whole(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw bad(`${JSON.stringify(value)} is no number`);
}

function owner(value: unknown): number {
  const id = whole(value);
  if (id < 2 ** 32 - 1) return id;
  throw bad(`${id} is no owner`);
}
