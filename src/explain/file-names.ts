/** Names of files in lists of contents, as people know them. Pure. */
import type { ContentSelector, FileChange } from '../fs/index.ts';
import { splitWildcards } from '../words/index.ts';

/** The folder or file that a selection's paths are below. */
export function baseOf({ path = '/', wildcard = false }: ContentSelector): string {
  return wildcard ? splitWildcards(path).base : path;
}

/** A change with its path from the root of the tree: `2:lib/a.js` is below the third selection's base. */
export function named(change: FileChange, bases: readonly string[]): FileChange {
  const [, index = '0', rest = ''] = /^(\d+):(.*)$/s.exec(change.path) ?? [];
  const full = `${bases[Number(index)] ?? '/'}/${rest}`.replace(/\/+/g, '/').replace(/^\/|\/$/g, '');
  return { ...change, path: full === '' ? '.' : full };
}
