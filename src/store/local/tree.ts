/** Tasks on whole trees, which run on worker threads. */
import { closeSync, constants, ftruncateSync, readSync, writeSync } from 'node:fs';
import { canceled, errnoCode } from '../../errors/index.ts';
import { inFolder } from '../../fs/index.ts';
import {
  chmodSync,
  copyFileSync,
  diskUse,
  lchownSync,
  lgetxattr,
  linkSync,
  llistxattr,
  lsetxattr,
  lstatSync,
  lutimesNs,
  mkdirSync,
  mknodInTree,
  openSync,
  readdirSync,
  readlinkSync,
  removeTree,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  seekData,
  seekHole,
  symlinkSync,
} from '../../linux/index.ts';
import type { TaskContext } from '../../workers/index.ts';

/**
 * The bytes on disk and the inodes of a folder's contents, without the folder itself. Hard links count once, holes not
 * at all. With `alone`, files that have names outside of the folder do not count, since its removal would not give their
 * bytes back. Files that vanish or change meanwhile are left out, and so are those too deep for a path.
 */
export function treeUsage(
  args: { dir: string; alone?: boolean },
  ctx?: TaskContext,
): { size: number; inodes: number } {
  /** Inode → how many names of it were seen. */
  const seen = new Map<string, number>();
  /** Paths within the tree. */
  const folders = [''];
  let size = 0;
  let inodes = 0;
  const count = (dir: string, path: string) => {
    for (const name of readdirSync(dir)) {
      const use = diskUse(`${dir}/${name}`);
      if (use === undefined) continue;
      if (use.isFolder) folders.push(`${path}/${name}`);
      else if (use.inode !== undefined) {
        const names = (seen.get(use.inode) ?? 0) + 1;
        seen.set(use.inode, names);
        if (names !== (args.alone ? use.names : 1)) continue;
      }
      size += use.bytes;
      inodes++;
    }
  };
  for (let path = folders.pop(); path !== undefined; path = folders.pop()) {
    if (ctx?.aborted()) throw canceled();
    const at = path;
    try {
      inFolder(`${args.dir}${at}`, at, (dir) => count(dir, at));
    } catch (err) {
      if (!['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(errnoCode(err) ?? '')) throw err;
    }
  }
  return { size, inodes };
}

/** Removes trees and files; missing ones are no error. With `measure`, returns the bytes that the disk got back. */
export function removeTrees(args: { paths: string[]; measure?: boolean }): number {
  let size = 0;
  for (const path of args.paths) {
    if (args.measure) size += treeUsage({ dir: path, alone: true }).size;
    removeTree(path);
  }
  return size;
}

/**
 * Copies a folder's contents and attributes into an existing empty folder. Owners, modes, times, extended attributes,
 * devices, hard links and holes are kept; file bytes are shared (reflink) where the filesystem can.
 */
export function copyTree(args: { from: string; to: string }, ctx?: TaskContext): void {
  const links = new Map<bigint, string>();
  const folders: [path: string, to: string][] = [['', args.to]];
  const root = process.geteuid?.() === 0;
  // Folder times are set last, from the bottom up, since filling a folder changes its times.
  for (let i = 0; i < folders.length; i++) {
    const [path, to] = folders[i]!;
    if (ctx?.aborted()) throw canceled();
    inFolder(`${args.from}${path}`, path, (from) => copyFolder(from, path, to));
  }
  for (const [path, to] of folders.reverse()) {
    inFolder(`${args.from}${path}`, path, (from) => copyAttributes(`${from}/.`, to, root));
  }

  function copyFolder(from: string, path: string, to: string): void {
    for (const name of readdirSync(from)) {
      const source = `${from}/${name}`;
      const target = `${to}/${name}`;
      const stat = lstatSync(source);
      const type = Number(stat.mode) & S_IFMT;
      if (type === S_IFDIR) {
        mkdirSync(target);
        folders.push([`${path}/${name}`, target]);
        continue;
      }
      if (stat.nlink > 1n) {
        const first = links.get(stat.ino);
        if (first !== undefined) {
          linkSync(first, target);
          continue;
        }
        links.set(stat.ino, target);
      }
      if (type === S_IFREG) copyFile(source, target, stat.size, stat.blocks);
      else if (type === S_IFLNK) symlinkSync(readlinkSync(source), target);
      else mknodInTree(target, Number(stat.mode), stat.rdev);
      copyAttributes(source, target, root);
    }
  }
}

function copyFile(source: string, target: string, size: bigint, blocks: bigint): void {
  const input = openSync(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (blocks * 512n < size) copyWithHoles(input, target, size);
    else {
      const how = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE;
      copyFileSync(`/proc/self/fd/${input}`, target, how);
    }
  } finally {
    closeSync(input);
  }
}

function copyWithHoles(input: number, target: string, size: bigint): void {
  const output = openSync(target, 'wx', 0o600);
  try {
    const buffer = Buffer.allocUnsafe(1 << 20);
    ftruncateSync(output, Number(size));
    for (let at = seekData(input, 0); at >= 0; at = seekData(input, at)) {
      const end = seekHole(input, at);
      while (at < end) {
        const n = readSync(input, buffer, 0, Math.min(buffer.length, end - at), at);
        if (n === 0) return;
        for (let done = 0; done < n; ) done += writeSync(output, buffer, done, n - done, at + done);
        at += n;
      }
    }
  } finally {
    closeSync(output);
  }
}

/** Copies owner, mode, extended attributes and times of one file to another. */
export function copyAttributes(source: string, target: string, root: boolean): void {
  const stat = lstatSync(source);
  const mode = Number(stat.mode);
  // The owner is set first: changing it removes setuid bits and file capabilities.
  if (root) lchownSync(target, Number(stat.uid), Number(stat.gid));
  if ((mode & S_IFMT) !== S_IFLNK) chmodSync(target, mode & 0o7777);
  for (const name of llistxattr(source)) {
    const value = lgetxattr(source, name);
    if (value !== undefined) lsetxattr(target, name, value);
  }
  lutimesNs(target, stat.atimeNs, stat.mtimeNs);
}
