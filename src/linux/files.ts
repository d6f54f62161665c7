/**
 * Node's functions on files, for names spelled as in names.ts: trees of builds have any names. They are synchronous,
 * like Node's, and throw the same errors.
 */
import * as fs from 'node:fs';
import { printable } from '../errors/index.ts';
import { bytesOf, nameOf, rawName } from './names.ts';

export function openSync(path: string, flags: number | string, mode?: number): number {
  return path.isWellFormed()
    ? fs.openSync(path, flags, mode)
    : by(path, (raw) => fs.openSync(raw, flags, mode));
}

/** The kind of filesystem that a file is in, as statfs(2) numbers them. */
export function filesystemSync(path: string): number {
  return path.isWellFormed() ? fs.statfsSync(path).type : by(path, (raw) => fs.statfsSync(raw).type);
}

export function mkdirSync(path: string, options?: number | { mode?: number; recursive?: boolean }): void {
  if (path.isWellFormed()) fs.mkdirSync(path, options);
  else by(path, (raw) => fs.mkdirSync(raw, options));
}

export function rmSync(path: string, options?: fs.RmOptions): void {
  if (path.isWellFormed()) fs.rmSync(path, options);
  else by(path, (raw) => fs.rmSync(raw, options));
}

export function realpathSync(path: string): string {
  const real = path.isWellFormed() ? fs.realpathSync(path) : '\ufffd';
  return real.includes('\ufffd') ? by(path, (raw) => nameOf(fs.realpathSync.native(raw, 'buffer'))) : real;
}

export function rmdirSync(path: string): void {
  if (path.isWellFormed()) fs.rmdirSync(path);
  else by(path, fs.rmdirSync);
}

export function unlinkSync(path: string): void {
  if (path.isWellFormed()) fs.unlinkSync(path);
  else by(path, fs.unlinkSync);
}

export function chmodSync(path: string, mode: number): void {
  if (path.isWellFormed()) fs.chmodSync(path, mode);
  else by(path, (raw) => fs.chmodSync(raw, mode));
}

export function lchownSync(path: string, uid: number, gid: number): void {
  if (path.isWellFormed()) fs.lchownSync(path, uid, gid);
  else by(path, (raw) => fs.lchownSync(raw, uid, gid));
}

/** Gives the file `existing` the further name `path`. */
export function linkSync(existing: string, path: string): void {
  if (existing.isWellFormed() && path.isWellFormed()) fs.linkSync(existing, path);
  else by(path, (raw) => fs.linkSync(rawName(existing), raw));
}

export function symlinkSync(target: string, path: string): void {
  if (target.isWellFormed() && path.isWellFormed()) fs.symlinkSync(target, path);
  else by(path, (raw) => fs.symlinkSync(rawName(target), raw));
}

export function renameSync(from: string, to: string): void {
  if (from.isWellFormed() && to.isWellFormed()) fs.renameSync(from, to);
  else by(to, (raw) => fs.renameSync(rawName(from), raw));
}

export function copyFileSync(from: string, to: string, mode?: number): void {
  if (from.isWellFormed() && to.isWellFormed()) fs.copyFileSync(from, to, mode);
  else by(to, (raw) => fs.copyFileSync(rawName(from), raw, mode));
}

/** Node's own lstat, with bigints; `lstat` of lstat.ts returns fewer facts and is faster. */
export function lstatSync(path: string): fs.BigIntStats {
  return by(path, (raw) => fs.lstatSync(raw, { bigint: true }));
}

export function readlinkSync(path: string): string {
  // Most targets are UTF-8 and are read faster as text.
  const target = path.isWellFormed() ? fs.readlinkSync(path) : '\ufffd';
  return target.includes('\ufffd') ? by(path, (raw) => nameOf(fs.readlinkSync(raw, 'buffer'))) : target;
}

/** Lists the names in a folder. */
export function readdirSync(dir: string): string[] {
  if (dir.isWellFormed()) {
    const names = fs.readdirSync(dir);
    if (!names.some((name) => name.includes('\ufffd'))) return names;
  }
  return by(dir, (raw) => fs.readdirSync(raw, 'buffer').map((name) => nameOf(name)));
}

/** Yields while it works and returns the same as `readdirSync`. */
export function* listNames(dir: string): Generator<void, string[]> {
  const handle = by(dir, (raw) =>
    fs.opendirSync(raw as unknown as string, { encoding: 'buffer' as never, bufferSize: 256 }),
  );
  const names: string[] = [];
  try {
    for (let entry = handle.readSync(); entry !== null; entry = handle.readSync()) {
      // Node's types know only text here.
      names.push(nameOf(entry.name as unknown as Buffer));
      yield;
    }
  } finally {
    handle.closeSync();
  }
  return names;
}

/** Lists the names in a folder and tells which are folders. */
export function readEntriesSync(dir: string): { name: string; isFolder: boolean }[] {
  return by(dir, (raw) =>
    fs
      .readdirSync(raw, { encoding: 'buffer', withFileTypes: true })
      .map((entry) => ({ name: nameOf(entry.name), isFolder: entry.isDirectory() })),
  );
}

/** Calls one of Node's fs functions with bytes for a path; its error names the path in readable form. */
function by<T>(path: string, call: (raw: Buffer) => T): T {
  try {
    return call(bytesOf(path));
  } catch (err) {
    if (err instanceof Error && 'syscall' in err) {
      const { code, syscall } = err as NodeJS.ErrnoException;
      err.message = `${code}: ${syscall} '${printable(path)}' failed`;
      Object.assign(err, { path });
    }
    throw err;
  }
}
