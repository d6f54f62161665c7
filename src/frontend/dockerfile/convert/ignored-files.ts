/** Files that are sent or fetched only for the builder, when `.dockerignore` leaves them out of the context. */
import { IgnoreMatcher, readIgnore } from '../../../fs/index.ts';
import { nameOf } from '../../../linux/index.ts';
import { copy, type State, scratch } from '../../../llb/index.ts';
import type { FrontendTree } from '../../types.ts';

/** The largest `.dockerignore`, in characters; a larger one is refused. */
const maxText = 1024 * 1024;

/**
 * A tree without those of the given files that its own `.dockerignore` leaves out. Throws `invalid` for a malformed
 * pattern.
 */
export async function withoutIgnored(
  files: State,
  tree: FrontendTree,
  names: readonly string[],
): Promise<State> {
  const text = await tree.readFile('/.dockerignore', maxText);
  if (text === undefined) return files;
  const matcher = new IgnoreMatcher(readIgnore(nameOf(text)));
  const excludes = names.filter((name) => matcher.matches(name));
  if (excludes.length === 0) return files;
  const exactly = excludes.map((name) => name.replace(/[\\*?[\]]/g, '\\$&'));
  return scratch().file(copy(files, '/', '/', { contentsOnly: true, excludes: exactly }), {
    name: `[internal] the build context without ${excludes.join(', ')}`,
  });
}

/** A tree that looks into the first one, and into the other for files that the first does not have. */
export function firstOf(first: FrontendTree, other: FrontendTree): FrontendTree {
  return {
    readFile: async (path, maxBytes) =>
      (await first.readFile(path, maxBytes)) ?? (await other.readFile(path, maxBytes)),
    stat: async (path) => (await first.stat(path)) ?? (await other.stat(path)),
    readdir: (path) => other.readdir(path),
    newest: () => other.newest(),
  };
}
