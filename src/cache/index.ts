/** The records of finished vertices, and the keys that lead to them. */
export {
  Cache,
  type CacheEntry,
  type CacheRecord,
  type KeyParts,
  type MadeFor,
  type RecordType,
} from './cache.ts';
