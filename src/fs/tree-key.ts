/** The key under which the digest of a whole part of a context is remembered. */
import { hash } from 'node:crypto';
import { compileGlob } from '../patterns/index.ts';
import { IgnoreMatcher } from './ignore.ts';
import type { Look } from './look.ts';
import { cleanPath } from './paths.ts';
import type { ContentSelector, ViewSpec } from './view.ts';

/**
 * Makes a key from the selection, its filters, and the state of all files that could matter; files that were not looked
 * at yet are looked at now. Undefined: the digest is not to be remembered. Throws the errors of `giveWay`, which is
 * called now and then.
 */
export function treeKey(
  look: Look,
  spec: Extract<ViewSpec, { kind: 'folder' }>,
  selectors: readonly ContentSelector[],
  giveWay: () => void,
): string | undefined {
  const tops = topsOf(look, selectors, giveWay);
  if (tops === undefined) look.finish(undefined, giveWay);
  const excludes = new IgnoreMatcher(spec.excludes ?? []);
  const excluded = (path: string) => !excludes.hasExceptions && excludes.matches(path);
  const state = look.fingerprint(tops, excluded);
  if (state === undefined) return undefined;
  const { rootOwned, includes, followPaths } = spec;
  return hash(
    'sha256',
    JSON.stringify([1, rootOwned, includes, spec.excludes, followPaths, selectors, state]),
  );
}

function topsOf(
  look: Look,
  selectors: readonly ContentSelector[],
  giveWay: () => void,
): Set<string> | undefined {
  let all = new Set<string>();
  for (const { path, wildcard } of selectors) {
    const clean = cleanPath(path);
    const first = clean.split('/')[1] ?? '';
    if (first === '') return undefined;
    const matches = wildcard === true ? compileGlob(first) : (name: string) => name === first;
    const found = look.topsOf(clean, matches, giveWay);
    if (found === undefined) return undefined;
    all = all.union(found);
  }
  return all;
}
