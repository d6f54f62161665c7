/**
 * Finds the folder an entry goes into, making what is missing. Links on the way are followed inside the tree only,
 * never by the kernel: every part is checked to be a real folder of the layer before anything is written beneath it.
 */
import { clip, fail } from '../errors/index.ts';
import { type FsView, isWhiteout, lstatHost } from '../fs/index.ts';
import { chmodSync, lchownSync, lsetxattr, mkdirSync, readlinkSync, unlinkSync } from '../linux/index.ts';

interface LayerFolder {
  /** Path on the host. */
  host: string;
  /** Path in the tree, with a leading slash; '' is the root. */
  path: string;
}

/** Parts of a path, with those of the links on it, that are gone through for one entry. */
const maxSteps = 8192;

interface Hooks {
  /** A folder was made that no entry named (yet). */
  made(host: string, path: string, mtimeNs: bigint): void;
}

export class LayerPaths {
  readonly root: string;
  #lower: FsView | undefined;
  #hooks: Hooks;
  /** Archived folder path → where it is. Only of parents found without links. */
  #cache = new Map<string, LayerFolder>();
  #real = new Set<string>();

  constructor(root: string, lower: FsView | undefined, hooks: Hooks) {
    this.root = root;
    this.#lower = lower;
    this.#hooks = hooks;
    this.#cache.set('', { host: root, path: '' });
  }

  /** The folder for a clean relative path. Throws `corrupt` when a file is in the way, or links go round in circles. */
  folder(path: string): LayerFolder {
    const known = this.#cache.get(path);
    if (known !== undefined) return known;
    /** Parts still to go, the next one last. */
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

  /** Notes that a real folder is there. */
  known(host: string): void {
    this.#real.add(host);
  }

  /** Forgets a folder that was removed, with all beneath. */
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

  /** Makes sure that a folder is there; returns a link's target when it is one instead. */
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
    const below = hidden ? undefined : this.#lower?.lstat(path);
    if (below?.type === 'symlink') return below.link ?? '';
    if (hidden) unlinkSync(host);
    mkdirSync(host, 0o755);
    if (hidden) lsetxattr(host, 'trusted.overlay.opaque', Buffer.from('y'));
    if (below?.type === 'dir') {
      lchownSync(host, below.uid, below.gid);
      chmodSync(host, below.mode);
      for (const [name, value] of this.#lower?.xattrs(below) ?? []) lsetxattr(host, name, value);
    } else chmodSync(host, 0o755);
    this.#hooks.made(host, path, below?.type === 'dir' ? below.mtimeNs : 0n);
    this.#real.add(host);
    return undefined;
  }
}
