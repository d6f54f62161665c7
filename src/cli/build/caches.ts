/** `--cache-from` and `--cache-to`. */
import { cacheSpec } from '../../remote-cache/spec-text.ts';
import type { CacheSpec } from '../../remote-cache/types.ts';
import { parsePairs } from '../csv.ts';

/** `type=registry,ref=…` and its like, or an image's name. Throws `invalid`. */
export function cacheSpecs(texts: readonly string[]): CacheSpec[] {
  return texts.map((text) => cacheSpec(text, (pairs) => parsePairs(pairs, 'cache-from or --cache-to')));
}
