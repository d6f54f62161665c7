import { parseBool } from '../words/index.ts';
import type { CacheSpec } from './types.ts';

/** The cache that `docker build --cache-from` names by an image. Pairs (`type=registry,ref=…`) are buildx's form. */
export function cacheSpec(text: string, pairs: (text: string) => ReadonlyMap<string, string>): CacheSpec {
  if (!text.includes('=')) return { type: 'registry', attrs: { ref: text } };
  const { type = 'registry', ...attrs } = Object.fromEntries(pairs(text));
  return { type, attrs };
}

/** The inline cache that `BUILDKIT_INLINE_CACHE=1` among the build arguments asks for. */
export function inlineByArg(buildArgs: Readonly<Record<string, string>>): CacheSpec[] {
  return parseBool(buildArgs.BUILDKIT_INLINE_CACHE ?? '') === true ? [{ type: 'inline', attrs: {} }] : [];
}
