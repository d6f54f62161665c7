import { posix } from 'node:path';
import { IgnoreMatcher } from '../../../fs/index.ts';

/** Patterns × paths after which nothing is judged any more: it is for a warning only. */
const maxTests = 5_000_000;

/**
 * Tells whether a COPY source is certainly left out of the context: some pattern matches it or a folder above it. Lists
 * with exceptions are not judged, since a folder may be left out and a file in it not. Throws `invalid` on a
 * malformed pattern.
 */
export function ignoreTest(patterns: readonly string[]): (path: string) => boolean {
  if (patterns.length === 0) return () => false;
  const matcher = new IgnoreMatcher(patterns);
  if (matcher.hasExceptions) return () => false;
  const all = patterns.some((pattern) => pattern === '*' || pattern === '**' || pattern === '**/*');
  let left = maxTests;
  return (path) => {
    left -= patterns.length;
    if (left < 0) return false;
    const clean = posix.resolve('/', path).slice(1);
    return clean === '' ? all : matcher.matches(clean);
  };
}
