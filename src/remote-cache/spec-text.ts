import { parseBool } from '../words/index.ts';
import type { CacheSpec } from './types.ts';

/** A cache as `docker build --cache-from` names it: an image. Pairs (`type=registry,ref=…`) are buildx's form. */
export function cacheSpec(text: string, pairs: (text: string) => ReadonlyMap<string, string>): CacheSpec {
  if (!text.includes('=')) return { type: 'registry', attrs: { ref: text } };
  const { type = 'registry', ...attrs } = Object.fromEntries(pairs(text));
  return { type, attrs };
}

/** `BUILDKIT_INLINE_CACHE=1` among the build arguments asks for a cache inside the image. */
export function inlineByArg(buildArgs: Readonly<Record<string, string>>): CacheSpec[] {
  return parseBool(buildArgs.BUILDKIT_INLINE_CACHE ?? '') === true ? [{ type: 'inline', attrs: {} }] : [];
}
