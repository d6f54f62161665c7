/**
 * Finds the folder of an entry and makes missing ones. Links on the way are followed inside the tree only, never by the
 * kernel: each part is checked to be a real folder of the layer before anything is written in it.
 */
import { clip, type DrydockError, fail } from '../errors/index.ts';
import { type FsView, isWhiteout, lstatHost } from '../fs/index.ts';
import {
  chmodSync,
  lchownSync,
  lsetxattr,
  mkdirSync,
  overlayXattr,
  readlinkSync,
  unlinkSync,
} from '../linux/index.ts';

interface LayerFolder {
  /** Path on the host. */
  host: string;
  /** Path in the tree, with a leading slash; '' is the root. */
  path: string;
}

/** The largest number of parts walked for one entry, including the parts of links on the way. */
const maxSteps = 8192;

/** What is below a layer: its tree, or `unknown` while it is still being made. */
export type Lower = FsView | 'unknown' | undefined;

/** The error for a layer that cannot be unpacked before it is known what is below it. */
export function wantsLower(path: string): DrydockError {
  return fail('conflict', 'store', `the layer builds on ${clip(path, 200)}, which is in a layer below it`);
}

interface Hooks {
  /** Called when a folder was made that no entry has named (yet). */
  made(host: string, path: string, mtimeNs: bigint): void;
}

/** The folders of a layer that is being unpacked. */
export class LayerPaths {
  readonly root: string;
  #lower: Lower;
  #hooks: Hooks;
  /** Archived path of a folder → the folder. Only folders that were reached without links. */
  #cache = new Map<string, LayerFolder>();
  #real = new Set<string>();

  constructor(root: string, lower: Lower, hooks: Hooks) {
    this.root = root;
    this.#lower = lower;
    this.#hooks = hooks;
    this.#cache.set('', { host: root, path: '' });
  }

  /** The folder at a clean relative path. Throws `corrupt` when a file is in the way, or links form a circle. */
  folder(path: string): LayerFolder {
    const known = this.#cache.get(path);
    if (known !== undefined) return known;
    /** Parts still to walk; the next one is last. */
    const todo = path.split('/').reverse();
    let steps = 0;
    let at: LayerFolder = { host: this.root, path: '' };
    let hops = 0;
    let linked = false;
    while (todo.length > 0) {
      const name = todo.pop()!;
      if (++steps > maxSteps)
        throw fail('corrupt', 'store', `the layer’s path ${clip(path, 200)} leads too far`);
      if (name === '' || name === '.') continue;
      if (name === '..') {
        at = this.#up(at);
        continue;
      }
      const host = `${at.host}/${name}`;
      const next = { host, path: `${at.path}/${name}` };
      const link = this.#real.has(host) ? undefined : this.#enter(next);
      if (link === undefined) {
        at = next;
        continue;
      }
      if (++hops > 255) {
        throw fail('corrupt', 'store', `the layer’s path ${clip(path, 200)} runs in a circle of links`);
      }
      linked = true;
      if (link.startsWith('/')) at = { host: this.root, path: '' };
      todo.push(...link.split('/').reverse());
    }
    if (!linked) this.#cache.set(path, at);
    return at;
  }

  /** Notes that a real folder exists. */
  known(host: string): void {
    this.#real.add(host);
  }

  /** Forgets a removed folder and all below it. */
  forget(host: string): void {
    this.#cache.clear();
    this.#cache.set('', { host: this.root, path: '' });
    for (const dir of this.#real) if (dir === host || dir.startsWith(`${host}/`)) this.#real.delete(dir);
  }

  #up(at: LayerFolder): LayerFolder {
    if (at.path === '') return at;
    return {
      host: at.host.slice(0, at.host.lastIndexOf('/')),
      path: at.path.slice(0, at.path.lastIndexOf('/')),
    };
  }

  /** Enters a folder, making it if it is missing. Returns the target when it is a link instead. */
  #enter({ host, path }: LayerFolder): string | undefined {
    const st = lstatHost(host);
    if (st?.isDirectory()) {
      this.#real.add(host);
      return undefined;
    }
    if (st?.isSymbolicLink()) return readlinkSync(host);
    const hidden = st !== undefined && isWhiteout(st);
    if (st !== undefined && !hidden) {
      throw fail('corrupt', 'store', `the layer puts files beneath ${path}, which is not a folder in it`);
    }
    if (!hidden && this.#lower === 'unknown') throw wantsLower(path);
    const lower = this.#lower === 'unknown' ? undefined : this.#lower;
    const below = hidden ? undefined : lower?.lstat(path);
    if (below?.type === 'symlink') return below.link ?? '';
    if (hidden) unlinkSync(host);
    mkdirSync(host, 0o755);
    if (hidden) lsetxattr(host, overlayXattr('opaque'), Buffer.from('y'));
    if (below?.type === 'dir') {
      lchownSync(host, below.uid, below.gid);
      chmodSync(host, below.mode);
      for (const [name, value] of lower?.xattrs(below) ?? []) lsetxattr(host, name, value);
    } else chmodSync(host, 0o755);
    this.#hooks.made(host, path, below?.type === 'dir' ? below.mtimeNs : 0n);
    this.#real.add(host);
    return undefined;
  }
}
