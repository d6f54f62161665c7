/** Worker task `ops.diff`: writes the difference of two trees as a layer folder. */
import { chmodSync, lchownSync, mkdirSync } from 'node:fs';
import { canceled } from '../errors/error.ts';
import { openView } from '../fs/open.ts';
import { dirName } from '../fs/paths.ts';
import { hostXattrs } from '../fs/stat.ts';
import type { FsEntry, FsView, ViewSpec } from '../fs/view.ts';
import { copyUpFile } from '../layer/copy-up.ts';
import { diffViews } from '../layer/diff.ts';
import { lsetxattr, lutimesNs, mknod, S_IFCHR } from '../linux/libc.ts';
import type { TaskContext } from '../workers/tasks.ts';

/** Fills the empty layer folder `dir` with what makes `upper` of `lower`: new and changed files, and whiteouts. */
export function writeDiff(
  args: { lower: ViewSpec; upper: ViewSpec; dir: string },
  ctx: TaskContext,
): { changes: number } {
  const lower = openView(args.lower);
  const upper = openView(args.upper);
  const times: [string, bigint][] = [];
  const made = new Set<string>(['/']);
  /** Makes a folder as the upper tree has it, or the lower one where it is only needed for a whiteout. */
  const folder = (path: string): void => {
    if (made.has(path)) return;
    folder(dirName(path));
    const entry = upper.lstat(path) ?? lower.lstat(path);
    made.add(path);
    if (entry !== undefined) makeFolder(entry, args.dir + path, times);
  };
  let changes = 0;
  for (const change of diffViews(lower, upper)) {
    if (++changes % 256 === 0 && ctx.aborted()) throw canceled();
    const host = args.dir + change.path;
    folder(dirName(change.path));
    if (change.kind === 'delete') {
      mknod(host, S_IFCHR, 0);
      continue;
    }
    if (change.entry.type === 'dir') {
      folder(change.path);
      if (replacesFolderOf(lower, change.path)) lsetxattr(host, 'trusted.overlay.opaque', Buffer.from('y'));
    } else if (change.entry.type !== 'socket') copyUpFile(change.entry, host);
  }
  // The deepest first, as making things in a folder changes its time.
  for (const [host, mtimeNs] of times.reverse()) lutimesNs(host, mtimeNs, mtimeNs);
  return { changes };
}

/** A folder in place of something that was none must hide what the layers below have at that path. */
function replacesFolderOf(lower: FsView, path: string): boolean {
  const before = lower.lstat(path);
  return before !== undefined && before.type !== 'dir';
}

function makeFolder(entry: FsEntry, host: string, times: [string, bigint][]): void {
  mkdirSync(host);
  lchownSync(host, entry.uid, entry.gid);
  chmodSync(host, entry.mode);
  for (const [name, value] of hostXattrs(entry)) lsetxattr(host, name, value);
  times.push([host, entry.mtimeNs]);
}
