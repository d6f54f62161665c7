/**
 * Mount stubs: the empty files and folders that a runtime makes in the root filesystem for its mounts to land on. They
 * are no part of the step's work. They are therefore taken out of its layer again, together with the folders that were
 * only copied up to hold them.
 */
import { join } from 'node:path';
import { errnoCode } from '../errors/index.ts';
import {
  baseName,
  dirName,
  type FsEntry,
  type FsView,
  inFolder,
  lstatHost,
  resolvePath,
  splitPath,
} from '../fs/index.ts';
import {
  type HostStat,
  lgetxattr,
  lutimesNs,
  overlayXattr,
  readdirSync,
  rmdirSync,
  unlinkSync,
} from '../linux/index.ts';

interface StubPlan {
  /** The paths that are not there yet, deepest first within each mount point. */
  paths: string[];
  /** The folders that stubs will be made in, as they were before. */
  holders: Map<string, FsEntry>;
  /** The time after which the stubs are made, in ns since the epoch. */
  since: bigint;
}

/** A folder that changed no later than this after its stub was made was changed by the making of the stub. */
const sameTimeNs = 50_000_000n;

/**
 * The paths that the runtime will have to make for these mount points. With `parents`, the folders on the way to a
 * mount point count too. Yields at each mount point.
 */
export function* planStubs(
  view: FsView,
  destinations: readonly string[],
  parents: boolean,
): Generator<void, StubPlan> {
  const paths = new Set<string>();
  const holders = new Map<string, FsEntry>();
  for (const destination of destinations) {
    yield;
    let path = resolvePath(view, destination, { followLast: true });
    for (let leaf = true; path !== '/'; leaf = false) {
      const entry = view.lstat(path);
      if (entry !== undefined) {
        if (!leaf) holders.set(path, entry);
        break;
      }
      if (leaf || parents) paths.add(path);
      path = dirName(path);
    }
    const root = path === '/' ? view.lstat('/') : undefined;
    if (root !== undefined) holders.set('/', root);
  }
  const list = [...paths].sort((a, b) => splitPath(b).length - splitPath(a).length);
  return { paths: list, holders, since: BigInt(Date.now()) * 1_000_000n - sameTimeNs };
}

/**
 * Removes the stubs that are still as they were made from the writable layer folder. `merged` says that there are
 * layers below it: a folder without entries that is the same as below need not be in this layer. Yields at each stub.
 */
export function* removeStubs(layer: string, plan: StubPlan, merged: boolean): Generator<void, void> {
  const touched = new Map<string, bigint>();
  for (const path of plan.paths) {
    yield;
    const holder = dirName(path);
    within(layer, holder, (dir) => {
      const host = `${dir}/${baseName(path)}`;
      const st = lstatHost(host);
      if (st === undefined || !isStub(host, st)) return;
      const before = mtimeOf(dir);
      remove(host, st);
      // The holder's own time is what it was before the stub came, if nothing else changed it since.
      const was = plan.holders.get(holder)?.mtimeNs;
      const apart = before - st.mtimeNs;
      // A time from before is one that the step has set.
      const bySelf = before >= plan.since && apart < sameTimeNs && apart > -sameTimeNs;
      const time = was !== undefined && (touched.has(holder) || bySelf) ? was : before;
      if (time === was) touched.set(holder, time);
      setTime(dir, time);
    });
  }
  if (!merged) return;
  for (const [path, was] of [...plan.holders].sort(([a], [b]) => b.length - a.length)) {
    yield;
    if (path !== '/') {
      within(layer, dirName(path), (dir) => pruneCopiedUp(dir, `${dir}/${baseName(path)}`, was, plan.since));
    }
  }
}

/**
 * Takes a folder out of the layer when it holds nothing and is as it is below, but for a time that came with its stubs;
 * then the folders that it was copied up in.
 */
function pruneCopiedUp(holder: string, host: string, was: FsEntry, since: bigint): void {
  const st = lstatHost(host);
  if (!st?.isDirectory() || readdirSync(host).length > 0) return;
  if (was.type !== 'dir' || st.uid !== was.uid || st.gid !== was.gid || (st.mode & 0o7777) !== was.mode)
    return;
  if (lgetxattr(host, overlayXattr('opaque')) !== undefined) return;
  if (st.mtimeNs !== was.mtimeNs && st.mtimeNs < since) return;
  const time = mtimeOf(holder);
  rmdirSync(host);
  setTime(holder, time);
}

/** Calls `body` with the path of a folder of the layer, if every part of the way to it is a real folder there. */
function within(layer: string, path: string, body: (dir: string) => void): void {
  try {
    inFolder(join(layer, path), path, body);
  } catch (err) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoCode(err) ?? '')) throw err;
  }
}

function isStub(host: string, st: HostStat): boolean {
  if (st.isDirectory()) return readdirSync(host).length === 0;
  return st.isFile() && st.size === 0 && st.nlink === 1;
}

function remove(host: string, st: HostStat): void {
  if (st.isDirectory()) rmdirSync(host);
  else unlinkSync(host);
}

/** The mtime of a folder, in ns since the epoch. */
function mtimeOf(dir: string): bigint {
  return lstatHost(`${dir}/.`)?.mtimeNs ?? 0n;
}

function setTime(dir: string, time: bigint): void {
  lutimesNs(`${dir}/.`, time, time);
}
