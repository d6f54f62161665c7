/** Worker task `store.link`: a layer's folder once more, with the same files. */
import { canceled } from '../../errors/error.ts';
import { linkSync, mkdirSync, readEntriesSync } from '../../linux/files.ts';
import type { TaskContext } from '../../workers/tasks.ts';
import { copyAttributes } from '../local/tree.ts';

/**
 * Fills an empty folder with hard links to another's files (whiteouts and symlinks, too); folders are made anew, with
 * the attributes of the old ones. Only for layers that nobody writes to: their files are shared.
 */
export function linkTree(args: { from: string; to: string }, ctx?: TaskContext): void {
  const root = process.geteuid?.() === 0;
  const folders: [from: string, to: string][] = [[args.from, args.to]];
  for (let i = 0; i < folders.length; i++) {
    const [from, to] = folders[i]!;
    if (ctx?.aborted()) throw canceled();
    for (const entry of readEntriesSync(from)) {
      const source = `${from}/${entry.name}`;
      const target = `${to}/${entry.name}`;
      if (!entry.isFolder) {
        linkSync(source, target);
        continue;
      }
      mkdirSync(target);
      folders.push([source, target]);
    }
  }
  // From the bottom up: filling a folder changes its own times.
  for (const [from, to] of folders.reverse()) copyAttributes(from, to, root);
}
