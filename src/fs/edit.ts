/** The small file actions on a layer: mkdir, mkfile, symlink, rm. */
import { closeSync } from 'node:fs';
import { fail } from '../errors/index.ts';
import { lchownSync, lutimesNs, symlinkSync, writeAll } from '../linux/index.ts';
import { compileGlob } from '../patterns/index.ts';
import { splitWildcards } from '../words/index.ts';
import type { FileActionSpec } from './actions.ts';
import { type Abortable, createFile, finishFile, finishPath, stopper } from './make.ts';
import { type Ids, resolveOwner } from './owner.ts';
import { baseName, cleanPath, dirName, joinPath, splitPath } from './paths.ts';
import type { Dir, LayerTarget } from './target.ts';
import type { FsEntry } from './view.ts';

type Action<K> = Extract<FileActionSpec, { kind: K }>;

/** The attributes of a folder that is to be made. */
export interface NewDir {
  mode: number;
  owner?: Ids;
  timestampNs?: bigint;
}

/**
 * Makes a folder, and the missing folders above it, all with the same attributes; links on the path are followed.
 * Returns the folder and the list of those that were made, outermost first. Throws `invalid` when something on the path
 * is no folder.
 */
export function mkdirAll(target: LayerTarget, path: string, how: NewDir): { dir: Dir; made: Dir[] } {
  let dir = target.root;
  const made: Dir[] = [];
  for (const name of splitPath(target.resolve(path, true))) {
    const entry = target.lookup(dir, name);
    if (entry === undefined) {
      dir = target.mkdir(dir, name, {
        mode: how.mode,
        uid: how.owner?.uid ?? 0,
        gid: how.owner?.gid ?? 0,
        mtimeNs: how.timestampNs,
      });
      made.push(dir);
      continue;
    }
    const child = entry.type === 'dir' ? target.child(dir, name) : undefined;
    if (child === undefined) throw fail('invalid', 'file', `mkdir ${entry.path}: not a directory`);
    dir = child;
  }
  if (how.timestampNs !== undefined) for (const one of made) target.setDirTime(one, how.timestampNs);
  return { dir, made };
}

export function applyMkdir(target: LayerTarget, action: Action<'mkdir'>): void {
  const how = {
    mode: action.mode & 0o777,
    owner: resolveOwner(action.owner),
    timestampNs: action.timestampNs,
  };
  if (action.makeParents) {
    mkdirAll(target, action.path, how);
    return;
  }
  const path = target.resolve(action.path, true);
  if (path === '/' || target.lstat(path) !== undefined) return;
  target.mkdir(parentOf(target, path, 'mkdir'), baseName(path), {
    mode: how.mode,
    uid: how.owner?.uid ?? 0,
    gid: how.owner?.gid ?? 0,
    mtimeNs: how.timestampNs,
  });
}

/** Writes a file. An existing file keeps its mode, and its owner unless one is given, as when it is written to. */
export function applyMkfile(target: LayerTarget, action: Action<'mkfile'>): void {
  const path = target.resolve(action.path, true);
  const before = target.lstat(path);
  if (before !== undefined && before.type !== 'file') {
    const what = before.type === 'dir' ? 'a directory' : `a ${before.type}`;
    throw fail('invalid', 'file', `open ${path}: is ${what}`);
  }
  const dir = parentOf(target, path, 'open');
  const ids = resolveOwner(action.owner) ?? before ?? { uid: 0, gid: 0 };
  const attributes = {
    mode: before?.mode ?? action.mode & 0o777,
    uid: ids.uid,
    gid: ids.gid,
    mtimeNs: action.timestampNs,
  };
  const host = target.place(dir, baseName(path));
  const fd = createFile(host, attributes.mode);
  try {
    writeAll(fd, action.data);
    finishFile(fd, attributes, dir.setgid);
  } finally {
    closeSync(fd);
  }
  finishPath(host, attributes);
  target.bytes += action.data.length;
}

export function applySymlink(target: LayerTarget, action: Action<'symlink'>): void {
  const path = target.resolve(action.newpath, true);
  if (target.lstat(path) !== undefined) {
    throw fail('exists', 'file', `symlink ${action.oldpath} ${path}: file exists`);
  }
  const dir = parentOf(target, path, 'symlink');
  const ids = resolveOwner(action.owner) ?? { uid: 0, gid: 0 };
  const host = target.place(dir, baseName(path));
  symlinkSync(action.oldpath, host);
  lchownSync(host, ids.uid, ids.gid);
  if (action.timestampNs !== undefined) lutimesNs(host, action.timestampNs, action.timestampNs);
}

export function applyRm(target: LayerTarget, action: Action<'rm'>, ctx: Abortable): void {
  if (!action.allowWildcard) {
    removePath(target, cleanPath(action.path), action.allowNotFound);
    return;
  }
  const { base, pattern } = splitWildcards(cleanPath(action.path));
  if (pattern === '') {
    removePath(target, base, action.allowNotFound);
    return;
  }
  const giveWay = stopper(ctx);
  for (const path of matching(target, target.resolve(base, true), pattern, giveWay)) {
    giveWay();
    removePath(target, path, action.allowNotFound);
  }
}

function removePath(target: LayerTarget, path: string, allowNotFound: boolean): void {
  if (path === '/') throw fail('invalid', 'file', 'rm: the root cannot be removed');
  const real = joinPath(target.resolve(dirName(path), true), baseName(path));
  const dir = target.dir(dirName(real));
  if (dir === undefined || target.lookup(dir, baseName(real)) === undefined) {
    if (allowNotFound) return;
    throw fail('not-found', 'file', `rm ${path}: no such file or directory`);
  }
  target.remove(dir, baseName(real));
}

function matching(target: LayerTarget, base: string, pattern: string, giveWay: () => void): string[] {
  const out: string[] = [];
  const globs = pattern.split('/').map((part) => compileGlob(part));
  const search = (dir: Dir | undefined, depth: number) => {
    if (dir === undefined) return;
    for (const entry of target.readdir(dir)) {
      giveWay();
      if (!globs[depth]?.(entry.name)) continue;
      if (depth + 1 === globs.length) out.push(entry.path);
      else if (entry.type === 'dir') search(target.child(dir, entry.name), depth + 1);
    }
  };
  search(target.dir(base), 0);
  return out;
}

function parentOf(target: LayerTarget, path: string, verb: string): Dir {
  const dir = target.dir(dirName(path));
  if (dir !== undefined) return dir;
  throw fail('not-found', 'file', `${verb} ${path}: no such file or directory`, {
    hint: `Make ${dirName(path)} first.`,
  });
}

/** The attributes of a copied file: the source's, changed to the owner, mode and time that the action asks for. */
export function copiedAttributes(
  entry: FsEntry,
  how: { owner?: Ids; mode?: (mode: number, isDir: boolean) => number; timestampNs?: bigint },
): { mode: number; uid: number; gid: number; mtimeNs: bigint } {
  return {
    mode: how.mode === undefined ? entry.mode : how.mode(entry.mode, entry.type === 'dir'),
    uid: how.owner?.uid ?? entry.uid,
    gid: how.owner?.gid ?? entry.gid,
    mtimeNs: how.timestampNs ?? entry.mtimeNs,
  };
}
