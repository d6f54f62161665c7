/**
 * ADD's unpacking of a tar, plain or compressed, into a layer. The archive sees only the destination, as after a
 * chroot: `..` is refused, and symlinks are followed only inside it.
 */
import { closeSync, ftruncateSync } from 'node:fs';
import { canceled, DrydockError, errnoCode, fail, withoutPaths } from '../errors/index.ts';
import { closeFd, linkSync, makedev, symlinkSync, writeAll } from '../linux/index.ts';
import { decompressFile, type TarEntry, type TarHandler, TarParser } from '../tar/index.ts';
import { mkdirAll, type NewDir } from './edit.ts';
import {
  type Abortable,
  type Attributes,
  copyFile,
  createFile,
  finishFile,
  finishPath,
  makeNode,
  setAttributes,
} from './make.ts';
import { cleanPath, dirName, joinPath } from './paths.ts';
import { openEntry } from './real.ts';
import { walkLinks } from './resolve.ts';
import { hostXattrs, isOwnXattr } from './stat.ts';
import type { Dir, LayerTarget } from './target.ts';
import type { FsEntry } from './view.ts';

/**
 * Unpacks a tar file into a folder, which is made when missing. Returns false, with nothing done, when the file is no
 * tar. Entries keep their owners (unless one is given), modes and times. Throws `invalid` on a broken or hostile
 * archive.
 *
 *     await unpackInto(target, entryOfTar, '/opt', { owner: { uid: 0, gid: 0 } }, ctx) || copyAsFile();
 */
export async function unpackInto(
  target: LayerTarget,
  source: FsEntry,
  dest: string,
  how: Omit<NewDir, 'mode'>,
  ctx: Abortable,
): Promise<boolean> {
  const writer = new TarWriter(target, dest, { ...how, mode: 0o755 }, ctx);
  const parser = new TarParser(writer, { hop: 'file' });
  let fd: number | undefined;
  try {
    fd = openEntry(source);
    for await (const chunk of decompressFile(`/proc/self/fd/${fd}`, { hop: 'file' })) {
      if (ctx.aborted()) throw canceled();
      parser.push(chunk);
    }
    parser.finish();
    writer.finish();
    return writer.started;
  } catch (err) {
    const known = err instanceof DrydockError ? err.code : undefined;
    // The first entry is sound but cannot be made, so the file is a tar.
    const isTar = known === 'unsupported' || known === 'invalid';
    if (!writer.started && !isTar && known !== 'canceled') return false;
    throw badArchive(source, err);
  } finally {
    if (fd !== undefined) closeFd(fd);
    writer.close();
  }
}

function badArchive(source: FsEntry, err: unknown): unknown {
  const invalid = (message: string) =>
    fail('invalid', 'file', `unpacking ${source.path}: ${message}`, { cause: withoutPaths(err) });
  if (err instanceof DrydockError) return err.code === 'corrupt' ? invalid(err.message) : err;
  const code = errnoCode(err) ?? '';
  if (['EFBIG', 'EINVAL', 'ENAMETOOLONG', 'ELOOP'].includes(code)) {
    return invalid(withoutPaths(err).message);
  }
  return err;
}

class TarWriter implements TarHandler {
  /** Whether an entry was found, which shows that the file is a tar. */
  started = false;
  readonly #target: LayerTarget;
  readonly #dest: string;
  readonly #how: NewDir;
  readonly #ctx: Abortable;
  #base = '';
  #file: { fd: number; host: string; entry: TarEntry; attributes: Attributes; setOwner: boolean } | undefined;
  /** The regions of a sparse file that are still to come. */
  #regions: { offset: number; length: number }[] = [];
  #regionAt = 0;
  /** The folder of the last entry, since archives hold entries of one folder together. */
  #parent: { path: string; dir: Dir } | undefined;
  readonly #dirTimes = new Map<string, { dir: Dir; mtimeNs: bigint }>();

  constructor(target: LayerTarget, dest: string, how: NewDir, ctx: Abortable) {
    this.#target = target;
    this.#dest = dest;
    this.#how = how;
    this.#ctx = ctx;
  }

  entry(entry: TarEntry): void {
    if (!this.started) {
      this.started = true;
      this.#base = this.#mkdirAll(this.#dest).path;
    }
    if (this.#ctx.aborted()) throw canceled();
    if (entry.path === '') return;
    refuseDots(entry.path);
    const target = this.#target;
    const dir = this.#parentOf(entry.path);
    const name = entry.path.slice(entry.path.lastIndexOf('/') + 1);
    const there = target.lookup(dir, name);
    if (there !== undefined && !(there.type === 'dir' && entry.type === 'dir')) {
      // The links through which a folder was found may go with it.
      this.#parent = undefined;
      if (there.type === 'dir') target.remove(dir, name);
    }
    this.#make(entry, dir, name, there);
  }

  data(chunk: Uint8Array): void {
    const file = this.#file;
    if (file === undefined) return;
    if (file.entry.sparse === undefined) {
      writeAll(file.fd, chunk);
      this.#target.bytes += chunk.length;
      return;
    }
    let rest = chunk;
    while (rest.length > 0) {
      const region = this.#regions[0];
      if (region === undefined)
        throw fail('corrupt', 'file', `${file.entry.path}: more data than its map says`);
      const take = Math.min(rest.length, region.length - this.#regionAt);
      writeAll(file.fd, rest.subarray(0, take), region.offset + this.#regionAt);
      this.#target.bytes += take;
      this.#regionAt += take;
      if (this.#regionAt === region.length) {
        this.#regions.shift();
        this.#regionAt = 0;
      }
      rest = rest.subarray(take);
    }
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    if (file.entry.sparse !== undefined) ftruncateSync(file.fd, file.entry.size);
    finishFile(file.fd, file.attributes, file.setOwner);
    this.close();
    finishPath(file.host, file.attributes);
  }

  /** Sets the times of all folders, which changed when entries were made in them. */
  finish(): void {
    for (const [path, { dir, mtimeNs }] of this.#dirTimes) {
      // A later entry may have replaced the folder.
      if (this.#target.dir(path) === dir) this.#target.setDirTime(dir, mtimeNs);
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #make(entry: TarEntry, dir: Dir, name: string, there: FsEntry | undefined): void {
    const target = this.#target;
    const attributes = this.#attributes(entry);
    if (entry.type === 'dir') {
      const old = there?.type === 'dir' ? target.child(dir, name) : undefined;
      if (old === undefined) {
        // A file in the way of a new folder is removed first.
        if (there !== undefined) target.remove(dir, name);
        const made = target.mkdir(dir, name, attributes);
        this.#dirTimes.set(made.path, { dir: made, mtimeNs: entry.mtimeNs });
        return;
      }
      target.setDir(old, attributes);
      this.#dirTimes.set(old.path, { dir: old, mtimeNs: entry.mtimeNs });
      return;
    }
    if (entry.type === 'hardlink') {
      this.#hardLink(entry, dir, name);
      return;
    }
    const host = target.place(dir, name);
    if (entry.type === 'file') {
      this.#regions = [...(entry.sparse ?? [])].filter((region) => region.length > 0);
      this.#regionAt = 0;
      const fd = createFile(host, attributes.mode, target.files);
      this.#file = { fd, host, entry, attributes, setOwner: dir.setgid };
      return;
    }
    if (entry.type === 'symlink') {
      this.#parent = undefined;
      symlinkSync(entry.link ?? '', host);
    } else {
      const rdev = makedev(entry.devmajor, entry.devminor);
      makeNode(host, { type: entry.type, rdev, path: entry.path });
    }
    setAttributes(host, entry.type, attributes);
  }

  #hardLink(entry: TarEntry, dir: Dir, name: string): void {
    const target = this.#target;
    const link = entry.link ?? '';
    refuseDots(link);
    const path = this.#resolve(link, false);
    const from = target.lstat(path);
    if (from === undefined || from.type === 'dir') {
      throw fail('corrupt', 'file', `${entry.path}: its hard link's target ${link} is not in the archive`);
    }
    if (path === joinPath(dir.path, name)) return;
    linkSync(this.#inLayer(from), target.place(dir, name));
  }

  /** The path of a file in the layer itself; a file of a lower layer is copied up. */
  #inLayer(entry: FsEntry): string {
    const target = this.#target;
    const dir = target.dir(dirName(entry.path))!;
    const host = `${target.upper(dir)}/${entry.name}`;
    if (entry.hostPath === host) return host;
    target.place(dir, entry.name);
    if (entry.type === 'file') {
      copyFile(entry, host, entry, true, this.#ctx);
      finishPath(host, { ...entry, xattrs: hostXattrs(entry) });
      return host;
    }
    if (entry.type === 'symlink') symlinkSync(entry.link ?? '', host);
    else makeNode(host, entry);
    setAttributes(host, entry.type, entry);
    return host;
  }

  #parentOf(path: string): Dir {
    const at = path.lastIndexOf('/');
    const folder = at < 0 ? '' : path.slice(0, at);
    if (this.#parent?.path === folder) return this.#parent.dir;
    const dir = this.#mkdirAll(this.#resolve(folder, true));
    this.#parent = { path: folder, dir };
    return dir;
  }

  #mkdirAll(path: string): Dir {
    const { dir, made } = mkdirAll(this.#target, path, this.#how);
    const mtimeNs = this.#how.timestampNs;
    if (mtimeNs !== undefined) for (const one of made) this.#dirTimes.set(one.path, { dir: one, mtimeNs });
    return dir;
  }

  /** Turns a path of the archive into one of the tree; links are followed as if the destination were the root. */
  #resolve(path: string, followLast: boolean): string {
    const inside = walkLinks((at) => this.#target.lstat(this.#at(at))?.link, path, followLast);
    return this.#at(inside);
  }

  #at(inside: string): string {
    return cleanPath(`${this.#base}/${inside}`);
  }

  #attributes(entry: TarEntry): Attributes {
    const { owner } = this.#how;
    const xattrs = [...entry.xattrs].filter(([name]) => isOwnXattr(name));
    return {
      mode: entry.mode & 0o7777,
      uid: owner?.uid ?? entry.uid,
      gid: owner?.gid ?? entry.gid,
      mtimeNs: entry.mtimeNs,
      xattrs: entry.type === 'file' || entry.type === 'dir' ? xattrs : [],
    };
  }
}

function refuseDots(path: string): void {
  if (!path.split('/').includes('..')) return;
  throw fail('invalid', 'file', `the archive holds ${JSON.stringify(path)}, which leads out of its folder`, {
    hint: 'Do not unpack archives you do not trust; make this one again without ".." in its paths.',
  });
}
