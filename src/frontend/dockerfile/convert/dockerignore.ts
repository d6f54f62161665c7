import { posix } from 'node:path';
import { IgnoreMatcher } from '../../../fs/index.ts';

/** The number of tests (patterns × paths) after which no path is tested any more, for the result is a warning only. */
const maxTests = 5_000_000;

/**
 * A function that tells whether a COPY source is certainly left out of the context: some pattern matches it or a folder
 * above it. Lists with exceptions give no answer, since a folder may be left out and a file in it not. Throws `invalid`
 * for a malformed pattern.
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
