/** Brings files of a container here. */
import type { Stats } from 'node:fs';
import { lstat, mkdir, open, rm, symlink, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConnectError } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import type { Stat } from '../../pb/fsutil/wire_pb.js';
import type { DebugContainer } from './container.ts';
import { absolute, type Place } from './place.ts';

/** The most bytes of a file that are asked for at once. */
const pieceSize = 4 << 20;

/** Kinds in the modes of Go's files (io/fs), as Stat has them. */
const kinds = { dir: 2 ** 31, symlink: 2 ** 27, other: (2 ** 26) | (2 ** 25) | (2 ** 24) | (2 ** 21) };

/**
 * Writes a file, or a folder with all that is in it, below `dest`, under its own name. What is there of that name is
 * replaced, and no symlink of this side is followed. Devices, pipes and sockets are left out. Throws `not-found`.
 */
export async function exportFiles(
  container: DebugContainer,
  place: Place,
  path: string,
  dest: string,
): Promise<{ files: number }> {
  const from = clean(absolute(path, place.meta.cwd));
  const tree = new Tree(container, place);
  const stat = await tree.stat(from);
  await mkdir(dest, { recursive: true });
  const count = { files: 0 };
  if (from === '/') await writeFolder(tree, from, dest, count);
  else await write(tree, from, stat, join(dest, basename(from)), count);
  return count;
}

function clean(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

async function write(tree: Tree, from: string, stat: Stat, to: string, count: { files: number }) {
  const mode = stat.mode;
  if (has(mode, kinds.dir)) {
    const there = await statOf(to);
    if (there !== undefined && !there.isDirectory()) await rm(to);
    await mkdir(to, { recursive: true });
    await writeFolder(tree, from, to, count);
    return;
  }
  if (has(mode, kinds.other)) return;
  await rm(to, { recursive: true, force: true });
  if (has(mode, kinds.symlink)) {
    await symlink(stat.linkname, to);
    count.files++;
    return;
  }
  const file = await open(to, 'wx', mode & 0o777);
  try {
    for (let at = 0; at < Number(stat.size); ) {
      const data = await tree.read(from, at, pieceSize);
      if (data.length === 0) break;
      await file.writeFile(data);
      at += data.length;
    }
    await file.chmod(mode & 0o777);
  } finally {
    await file.close();
  }
  const time = Number(stat.modTime / 1_000_000n) / 1000;
  await utimes(to, time, time);
  count.files++;
}

async function writeFolder(tree: Tree, from: string, to: string, count: { files: number }): Promise<void> {
  for (const stat of await tree.list(from)) {
    const name = stat.path;
    // Names come from elsewhere.
    if (name === '' || name === '.' || name === '..' || name.includes('/')) {
      throw fail('invalid', 'file', `the folder ${from} has an entry with the name ${JSON.stringify(name)}`);
    }
    await write(tree, `${from === '/' ? '' : from}/${name}`, stat, join(to, name), count);
  }
}

const has = (mode: number, bits: number) => (BigInt(mode) & BigInt(bits >>> 0)) !== 0n;

async function statOf(path: string): Promise<Stats | undefined> {
  return lstat(path).catch(() => undefined);
}

/** The files of a container, by the paths that its processes have. */
class Tree {
  readonly #at: DebugContainer;
  readonly #mounts: readonly { dest: string; index: number }[];

  constructor(at: DebugContainer, { container }: Place) {
    this.#at = at;
    this.#mounts = container.Mounts.map(({ dest = '/' }, index) => ({ dest: clean(dest), index })).sort(
      (a, b) => b.dest.length - a.dest.length,
    );
  }

  async stat(path: string): Promise<Stat> {
    const { id: Ref, bridge, call } = this.#at;
    const { MountIndex, inside } = this.#find(path);
    try {
      const { stat } = await bridge.statFileContainer({ Ref, Path: inside, MountIndex }, call);
      if (stat !== undefined) return stat;
    } catch (err) {
      throw fail('not-found', 'file', `${path}: ${ConnectError.from(err).rawMessage}`);
    }
    throw fail('not-found', 'file', `${path} is not there`);
  }

  async list(path: string): Promise<Stat[]> {
    const { id: Ref, bridge, call } = this.#at;
    const { MountIndex, inside } = this.#find(path);
    return (await bridge.readDirContainer({ Ref, DirPath: inside, MountIndex }, call)).entries;
  }

  async read(path: string, offset: number, length: number): Promise<Uint8Array> {
    const { id: Ref, bridge, call } = this.#at;
    const { MountIndex, inside } = this.#find(path);
    const Range = { Offset: BigInt(offset), Length: BigInt(length) };
    return (await bridge.readFileContainer({ Ref, FilePath: inside, MountIndex, Range }, call)).Data;
  }

  /** The mount that has a path, and the path in it. */
  #find(path: string): { MountIndex: number; inside: string } {
    for (const { dest, index } of this.#mounts) {
      if (dest === '/') return { MountIndex: index, inside: path };
      if (path === dest || path.startsWith(`${dest}/`)) {
        return { MountIndex: index, inside: path.slice(dest.length) || '/' };
      }
    }
    throw fail('not-found', 'file', `${path} is not there`);
  }
}
