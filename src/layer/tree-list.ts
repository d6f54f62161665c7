/**
 * A list of the files of a folder as they were at one time, by which is found later which of them have changed. One
 * line of JSON for each entry, in the order of `walkPlain`. The lists are this machine's own: they know files by inode
 * and change time, which no program can set.
 */
import { closeSync, constants, readSync, writeSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { fail } from '../errors/index.ts';
import { entryOf, type FsEntry, lstatHost, namesOfHost } from '../fs/index.ts';
import { compareNames, openSync } from '../linux/index.ts';

/** What a list says of an entry. */
export interface ListedEntry {
  path: string;
  type: FsEntry['type'];
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: string;
  /** '' when the file may have changed at the very moment at which it was listed. */
  ctimeNs: string;
  ino: string;
  nlink: number;
  link: string;
}

/** Files that changed so shortly before they were listed may change once more without another time, ns. */
const clockStep = 50_000_000n;
const chunk = 64 * 1024;
const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants;

/**
 * The entries of a plain folder: sorted by name within each folder, folders before their contents, without the root.
 * Devices and sockets are left out.
 */
export function* walkPlain(dir: string, path = ''): Generator<FsEntry, void, undefined> {
  for (const name of namesOfHost(`${dir}${path}`, path).sort(compareNames)) {
    const child = `${path}/${name}`;
    const host = `${dir}${child}`;
    const st = lstatHost(host);
    if (st === undefined) continue;
    const entry = entryOf(child, name, host, st);
    if (entry.type === 'char' || entry.type === 'block' || entry.type === 'socket') continue;
    yield entry;
    if (entry.type === 'dir') yield* walkPlain(dir, child);
  }
}

/** Orders paths as `walkPlain` does. */
export function comparePaths(a: string, b: string): number {
  return compareNames(a.replaceAll('/', '\0'), b.replaceAll('/', '\0'));
}

/**
 * Whether an entry is as it was. Its own files are known by inode and change time. A file whose change time alone is
 * another one (chown to the same owner, a link that came and went) is the same when its other facts are equal and its
 * time has a fraction of a second, as in `diffViews`. Folders count by mode and owner.
 */
export function isAsListed(was: ListedEntry, now: FsEntry): boolean {
  if (was.type !== now.type || was.mode !== now.mode || was.uid !== now.uid || was.gid !== now.gid)
    return false;
  if (now.type === 'dir') return true;
  if (was.size !== now.size || was.link !== (now.link ?? '') || was.nlink !== now.nlink) return false;
  if (was.ctimeNs === '' || was.mtimeNs !== String(now.mtimeNs)) return false;
  if (was.ino === String(now.ino) && was.ctimeNs === String(now.ctimeNs)) return true;
  return now.mtimeNs % 1_000_000_000n !== 0n;
}

/** Writes a list. */
export class ListWriter {
  readonly #fd: number;
  readonly #until = BigInt(Date.now()) * 1_000_000n - clockStep;
  #lines: string[] = [];
  #size = 0;

  constructor(path: string) {
    this.#fd = openSync(path, O_CREAT | O_EXCL | O_WRONLY, 0o600);
  }

  put({ path, type, mode, uid, gid, size, mtimeNs, ctimeNs, ino, nlink, link = '' }: FsEntry): void {
    const sure = ctimeNs < this.#until ? String(ctimeNs) : '';
    const line = JSON.stringify([
      ...[path, type, mode, uid, gid, size, String(mtimeNs), sure, String(ino), nlink, link],
    ]);
    this.#lines.push(line);
    this.#size += line.length;
    if (this.#size > chunk) this.#flush();
  }

  close(): void {
    try {
      this.#flush();
    } finally {
      closeSync(this.#fd);
    }
  }

  #flush(): void {
    if (this.#lines.length === 0) return;
    const bytes = Buffer.from(`${this.#lines.join('\n')}\n`);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    this.#lines = [];
    this.#size = 0;
  }
}

/** Reads a list, one entry after the other. Throws `corrupt` for what is no list. */
export function* readList(path: string): Generator<ListedEntry, void, undefined> {
  const fd = openSync(path, O_RDONLY);
  try {
    const buffer = Buffer.allocUnsafe(chunk);
    const decoder = new StringDecoder('utf8');
    let rest = '';
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) {
      const lines = (rest + decoder.write(buffer.subarray(0, n))).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield listed(line);
    }
    if (rest !== '') throw fail('corrupt', 'store', 'a list of files ends in the middle');
  } finally {
    closeSync(fd);
  }
}

function listed(line: string): ListedEntry {
  const [path, type, mode, uid, gid, size, mtimeNs, ctimeNs, ino, nlink, link] = JSON.parse(line);
  return { path, type, mode, uid, gid, size, mtimeNs, ctimeNs, ino, nlink, link };
}
