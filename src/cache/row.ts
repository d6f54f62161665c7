/** A row of the table of records. */
import type { SQLOutputValue } from 'node:sqlite';
import type { Digest } from '../oci/index.ts';
import type { SerializedRef } from '../store/index.ts';
import type { CacheRecord, MadeFor, RecordType } from './cache.ts';

/** The columns of a record's row, for a SELECT, in the order in which `toRecord` takes them. */
export const recordColumns =
  'n, last_used_at, id, description, type, owner, made_for, results, size, created_at, usage_count';

type Columns = [
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

/** The record of a row. */
export function toRecord(row: readonly SQLOutputValue[]): CacheRecord {
  const [, lastUsedAt, id, description, type, owner, madeFor, results, size, createdAt, usageCount] =
    row as Columns;
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
