/**
 * Worker tasks that write changes as layer folders: `ops.diff` and `ops.move`; and `ops.movable`, which writes nothing.
 */
import { canceled, errnoCode } from '../errors/index.ts';
import {
  addLinked,
  atEntry,
  dirName,
  type FsEntry,
  type FsView,
  hostXattrs,
  openView,
  readLinked,
  type ViewSpec,
} from '../fs/index.ts';
import { copyUpFile, diffViews, isMovable, ownChanges, type TreeChange } from '../layer/index.ts';
import {
  chmodSync,
  lchownSync,
  linkSync,
  lsetxattr,
  lutimesNs,
  mkdirSync,
  mknod,
  S_IFCHR,
} from '../linux/index.ts';
import type { TaskContext } from '../workers/index.ts';

/**
 * Fills the empty layer folder `dir` with the changes that make `upper` of `lower`: new and changed files, and
 * whiteouts.
 */
export function writeDiff(
  args: { lower: ViewSpec; upper: ViewSpec; dir: string },
  ctx: TaskContext,
): { changes: number } {
  const lower = openView(args.lower);
  const upper = openView(args.upper);
  return { changes: writeChanges(diffViews(lower, upper), { lower, upper }, args.dir, copyUpFile, ctx) };
}

/** A layer folder and the folders below it, topmost first. */
interface Stack {
  dir: string;
  below: string[];
}

/** Whether a layer can be laid as it is over another tree than its own; see `isMovable`. */
export function movable({ dir, below, exact }: Stack & { exact: boolean }): boolean {
  return isMovable(dir, openView({ kind: 'layers', dirs: below }), exact);
}

/**
 * Fills the empty layer folder `to` with a layer's changes, in a form that can be laid over any tree. Files are shared,
 * unless `copied` says that they are to be copied.
 */
export function writeMoved(
  { dir, below, to, copied }: Stack & { to: string; copied: boolean },
  ctx: TaskContext,
): { changes: number } {
  const lower = openView({ kind: 'layers', dirs: below });
  const upper = openView({ kind: 'layers', dirs: [dir, ...below] });
  const root = upper.lstat('/');
  if (root !== undefined) likeFolder(root, to);
  const place = copied ? copyUpFile : linkFile;
  const changes = writeChanges(ownChanges(dir, lower), { lower, upper }, to, place, ctx);
  if (!copied) addLinked(to, new Set(readLinked(dir)));
  return { changes };
}

function writeChanges(
  all: Iterable<TreeChange>,
  { lower, upper }: { lower: FsView; upper: FsView },
  dir: string,
  place: (from: FsEntry, host: string) => void,
  ctx: TaskContext,
): number {
  const times: [string, bigint][] = [];
  const made = new Set<string>(['/']);
  /** Makes a folder as the upper tree has it, or as the lower one has it when it is only needed for a whiteout. */
  const folder = (path: string): void => {
    if (made.has(path)) return;
    folder(dirName(path));
    const entry = upper.lstat(path) ?? lower.lstat(path);
    made.add(path);
    if (entry === undefined) return;
    const host = dir + path;
    mkdirSync(host);
    likeFolder(entry, host);
    times.push([host, entry.mtimeNs]);
  };
  let changes = 0;
  for (const change of all) {
    if (++changes % 256 === 0 && ctx.aborted()) throw canceled();
    const host = dir + change.path;
    folder(dirName(change.path));
    if (change.kind === 'delete') mknod(host, S_IFCHR, 0);
    else if (change.entry.type === 'dir') folder(change.path);
    else if (change.entry.type !== 'socket') place(change.entry, host);
  }
  // The deepest first, as making things in a folder changes its time.
  for (const [host, mtimeNs] of times.reverse()) lutimesNs(host, mtimeNs, mtimeNs);
  return changes;
}

function likeFolder(entry: FsEntry, host: string): void {
  lchownSync(host, entry.uid, entry.gid);
  chmodSync(host, entry.mode);
  for (const [name, value] of hostXattrs(entry)) lsetxattr(host, name, value);
}

function linkFile(from: FsEntry, host: string): void {
  try {
    atEntry(from, (path) => linkSync(path, host));
  } catch (err) {
    // A file has its most links.
    if (errnoCode(err) !== 'EMLINK') throw err;
    copyUpFile(from, host);
  }
}
