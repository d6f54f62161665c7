/** The worker task `store.link`: makes a second folder of a layer with the same files. */
import { canceled } from '../../errors/index.ts';
import { inFolder } from '../../fs/index.ts';
import { linkSync, mkdirSync, readEntriesSync } from '../../linux/index.ts';
import type { TaskContext } from '../../workers/index.ts';
import { copyAttributes } from '../local/tree.ts';

/**
 * Fills an empty folder with hard links to another folder's files (whiteouts and symlinks too). Folders are made anew
 * with the attributes of the old ones. Use it only for layers that nobody writes to: the files are shared.
 */
export function linkTree(args: { from: string; to: string }, ctx?: TaskContext): void {
  const root = process.geteuid?.() === 0;
  const folders: [path: string, to: string][] = [['', args.to]];
  for (let i = 0; i < folders.length; i++) {
    const [path, to] = folders[i]!;
    if (ctx?.aborted()) throw canceled();
    inFolder(`${args.from}${path}`, path, (from) => {
      for (const entry of readEntriesSync(from)) {
        const target = `${to}/${entry.name}`;
        if (!entry.isFolder) linkSync(`${from}/${entry.name}`, target);
        else {
          mkdirSync(target);
          folders.push([`${path}/${entry.name}`, target]);
        }
      }
    });
  }
  // From the bottom up: filling a folder changes its own times.
  for (const [path, to] of folders.reverse()) {
    inFolder(`${args.from}${path}`, path, (from) => copyAttributes(`${from}/.`, to, root));
  }
}
