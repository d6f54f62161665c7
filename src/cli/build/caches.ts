/** `--cache-from` and `--cache-to`. */
import { type CacheSpec, cacheSpec } from '../../remote-cache/index.ts';
import { parsePairs } from '../csv.ts';

/** `type=registry,ref=…` and its like, or an image's name. Throws `invalid`. */
export function cacheSpecs(texts: readonly string[]): CacheSpec[] {
  return texts.map((text) => cacheSpec(text, (pairs) => parsePairs(pairs, 'cache-from or --cache-to')));
}
