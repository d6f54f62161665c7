/** The records of a cache's exports in a bucket, by which it is known what older exports need. Pure. */
import { fail } from '../../errors/index.ts';
import { type Digest, isDigest } from '../../oci/index.ts';
import type { KeptBlob } from './rule.ts';

/** An export, as its record tells it. */
export interface ExportRecord {
  /** The digest of its config: an export of equal contents is the same one. */
  config: Digest;
  blobs: readonly KeptBlob[];
}

/** The largest record, in bytes: that of 100,000 layers. */
export const maxRecord = 16 << 20;

/** `coming`: of an export that is under way, so that nobody removes what it found there; `done`: of one that is written. */
type RecordKind = 'coming' | 'done';

/** What the keys of the records of a config begin with. */
export function recordsOfConfig(config: string): string {
  return `${config}.exports/`;
}

/** The key of a record; keys of one kind are in the order of time. */
export function recordKey(config: string, kind: RecordKind, time: Date, unique: string): string {
  return `${recordsOfConfig(config)}${kind}-${time.toISOString()}-${unique}`;
}

/** Reads a key; undefined for one that is no record's. */
export function readRecordKey(key: string): { config: string; kind: RecordKind } | undefined {
  const match = /^(.+)\.exports\/(coming|done)-[0-9TZ:.-]+-[0-9a-f-]+$/s.exec(key);
  if (match === null) return undefined;
  return { config: match[1] as string, kind: match[2] as RecordKind };
}

export function encodeRecord({ config, blobs }: ExportRecord): Buffer {
  return Buffer.from(JSON.stringify({ config, blobs: blobs.map(({ digest, size }) => [digest, size]) }));
}

/** Throws `corrupt` (hop `cache`). */
export function parseRecord(bytes: Buffer, key: string): ExportRecord {
  try {
    const { config, blobs } = JSON.parse(bytes.toString('utf8')) as { config: unknown; blobs: unknown };
    const read = (blobs as unknown[]).map((blob): KeptBlob => {
      const [digest, size] = blob as [unknown, unknown];
      if (typeof digest !== 'string' || !isDigest(digest)) throw new Error('no digest');
      if (typeof size !== 'number' || !(size >= 0)) throw new Error('no size');
      return { digest, size };
    });
    if (typeof config === 'string' && isDigest(config)) return { config, blobs: read };
  } catch {
    // Said below.
  }
  throw fail('corrupt', 'cache', `${key} is no record of an export`);
}
