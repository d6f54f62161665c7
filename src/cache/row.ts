/** A row of the table of records. */
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
