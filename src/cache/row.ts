/** A row of the table of records. */
import type { SQLOutputValue } from 'node:sqlite';
import type { Digest } from '../oci/index.ts';
import type { SerializedRef } from '../store/index.ts';
import type { CacheRecord, MadeFor, RecordType } from './cache.ts';

interface Row {
  id: Digest;
  description: string;
  type: RecordType;
  results: string | null;
  size: number;
  created_at: number;
  last_used_at: number;
  usage_count: number;
  owner: string | null;
  made_for: string | null;
}

/** The record of a row; undefined for none. */
export function toRecord(row: unknown): CacheRecord | undefined {
  if (row === undefined) return undefined;
  const r = row as Row;
  return {
    id: r.id,
    description: r.description,
    type: r.type,
    owner: r.owner ?? undefined,
    madeFor: r.made_for === null ? undefined : (JSON.parse(r.made_for) as MadeFor),
    results: r.results === null ? undefined : (JSON.parse(r.results) as SerializedRef[]),
    size: r.size,
    createdAt: r.created_at,
    lastUsedAt: r.last_used_at,
    usageCount: r.usage_count,
  };
}

/** The columns of a row that `listedRecord` reads, for a SELECT. */
export const listedColumns =
  'n, last_used_at, id, description, type, owner, made_for, results, size, created_at, usage_count';

/** The record of a row with these columns. */
export function listedRecord(row: readonly SQLOutputValue[]): CacheRecord {
  const [, lastUsedAt, id, description, type, owner, madeFor, results, size, createdAt, usageCount] = row as [
    n: number,
    lastUsedAt: number,
    id: Digest,
    description: string,
    type: RecordType,
    owner: string | null,
    madeFor: string | null,
    results: string | null,
    size: number,
    createdAt: number,
    usageCount: number,
  ];
  return {
    id,
    description,
    type,
    owner: owner ?? undefined,
    madeFor: madeFor === null ? undefined : (JSON.parse(madeFor) as MadeFor),
    results: results === null ? undefined : (JSON.parse(results) as SerializedRef[]),
    size,
    createdAt,
    lastUsedAt,
    usageCount,
  };
}
