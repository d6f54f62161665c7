/**
 * Removes a tree that others may still have open and change. It is walked from descriptor to descriptor, so a folder
 * that is swapped for a symlink meanwhile leads nowhere. The tree may be of any depth and have any bytes as names.
 */
import { randomUUID } from 'node:crypto';
import { type Dirent, readdirSync } from 'node:fs';
import koffi from 'koffi';
import { AT_FDCWD, fault, fns } from './call.ts';
import { bytesOf, nameOf } from './names.ts';
import { closeFd, openFolderAt } from './open-in.ts';

const AT_REMOVEDIR = 0x200;
const ENOENT = 2;
const ENOTDIR = 20;
const EISDIR = 21;
const ENOTEMPTY = 39;
/** The largest number of nested folders open at once. Deeper ones are moved to the top first. */
const maxDepth = 64;
/** How often a folder is emptied again when others make files in it meanwhile. */
const maxTries = 4;

/** Removes whatever is at a path; a missing path is no error. Throws a Node-style error. */
export function removeTree(path: string): void {
  removeAt(AT_FDCWD, bytesOf(`${path}\0`), { top: AT_FDCWD, moved: 0, seen: 0, id: randomUUID() }, 0);
}

interface Walk {
  /** The tree's own folder, when it is open. */
  top: number;
  /** The number of folders that were moved to it. */
  moved: number;
  /** The number of moved folders that were searched. */
  seen: number;
  /** A part of the names of moved folders, which nobody else can have used before. */
  id: string;
}

/** Removes one entry. `name` ends with a NUL. */
function removeAt(parent: number, name: Buffer, walk: Walk, depth: number): void {
  for (let tries = 0; ; tries++) {
    if (fns.unlinkat(parent, name, 0) === 0) return;
    const errno = koffi.errno();
    if (errno === ENOENT || errno === ENOTDIR) return;
    // Other filesystems answer EPERM for a folder.
    if (errno !== EISDIR && errno !== 1) throw fault('unlink', shown(name));
    const folder = openFolderAt(parent, name);
    // It is no folder any more, or never was one.
    if (folder === undefined) {
      if (tries < maxTries) continue;
      throw fault('unlink', shown(name));
    }
    try {
      if (walk.top === AT_FDCWD) walk.top = folder;
      empty(folder, walk, depth);
    } finally {
      if (walk.top === folder) walk.top = AT_FDCWD;
      closeFd(folder);
    }
    if (fns.unlinkat(parent, name, AT_REMOVEDIR) === 0) return;
    if (koffi.errno() === ENOENT) return;
    if (koffi.errno() !== ENOTEMPTY || tries >= maxTries) throw fault('rmdir', shown(name));
  }
}

function empty(folder: number, walk: Walk, depth: number): void {
  for (const entry of entriesOf(folder)) {
    const name = Buffer.concat([entry.name, Buffer.alloc(1)]);
    if (depth < maxDepth || !entry.isDirectory()) {
      removeAt(folder, name, walk, depth + 1);
      continue;
    }
    // The moved folder is found when the top is searched again.
    const aside = Buffer.from(`${walk.id}-${walk.moved++}\0`);
    if (fns.renameat(folder, name, walk.top, aside) !== 0) throw fault('rename', shown(name));
  }
  if (depth > 0 || walk.moved === walk.seen) return;
  walk.seen = walk.moved;
  empty(folder, walk, depth);
}

function entriesOf(folder: number): Dirent<Buffer>[] {
  return readdirSync(`/proc/self/fd/${folder}`, { withFileTypes: true, encoding: 'buffer' });
}

function shown(name: Buffer): string {
  return nameOf(name, 0, name.length - 1);
}
