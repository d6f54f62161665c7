/** A cache inside an image's own config (`moby.buildkit.cache.v0`). Its layers are the image's. Pure. */
import type { Digest } from '../../oci/index.ts';
import { type CacheConfig, encodeInlineRecords } from './config.ts';

/**
 * The records of a config for an image with these layers (blobs, lowest first); undefined when none of its results is
 * made of them. Results of other layers are left out; their keys stay.
 */
export function inlineRecords(config: CacheConfig, blobs: readonly Digest[]): Buffer | undefined {
  const places = new Map<Digest, number>();
  for (const [i, blob] of blobs.entries()) if (!places.has(blob)) places.set(blob, i);
  let found = false;
  const records = config.records.map((record) => ({
    ...record,
    results: record.results.flatMap((result) => {
      const stack = result.map((at) => config.layers[at]?.blob as Digest);
      // A layer may be there twice: it is the one in its place, else the first.
      const layers = stack.map((blob, i) => (blobs[i] === blob ? i : places.get(blob)));
      if (layers.length === 0 || !layers.every((at) => at !== undefined)) return [];
      found = true;
      return [layers];
    }),
  }));
  return found ? encodeInlineRecords(records) : undefined;
}
