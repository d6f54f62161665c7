import { readFileSync } from 'node:fs';
import type { FsView } from '../../src/fs/view.ts';
import { rawName } from '../../src/linux/names.ts';

/** A view as `path → what it is`: a file's text, `-> target`, or `/` for a folder. */
export function treeOf(view: FsView, dir = '/', out: Record<string, string> = {}): Record<string, string> {
  for (const entry of view.readdir(dir)) {
    if (entry.type === 'dir') {
      out[entry.path] = '/';
      treeOf(view, entry.path, out);
    } else if (entry.type === 'symlink') out[entry.path] = `-> ${entry.link}`;
    else if (entry.type === 'file') out[entry.path] = readFileSync(rawName(entry.hostPath), 'utf8');
    else out[entry.path] = entry.type;
  }
  return out;
}
