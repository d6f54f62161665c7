/** The files of an image's layers, laid one on another: what each layer adds, changes and removes. Pure. */
import { fail } from '../errors/index.ts';
import { compareNames } from '../linux/index.ts';

/** What a layer does with a path; `same`: a folder that is only there because of what is in it. */
type FileState = 'added' | 'changed' | 'removed' | 'same';

/** A file as a layer has it. */
export interface LaidFile {
  type: string;
  /** Bytes; of a removed path those of all files that went. */
  size: number;
  mode: number;
  uid: number;
  gid: number;
  link?: string;
}

/** What a layer has in a folder, all below it counted; `wasted` are bytes of it that later layers hide. */
export interface FileSums {
  files: number;
  bytes: number;
  wasted: number;
  removed: number;
}

/** One line of a folder's list. */
export interface ListedFile extends LaidFile {
  name: string;
  state: FileState;
  /** The layer, from 0, that overwrites or removes the file. */
  goneAt?: number;
  /** Of a folder. */
  below?: FileSums;
}

interface Version extends LaidFile {
  layer: number;
  state: FileState;
  goneAt?: number;
}

interface Node {
  children?: Map<string, Node>;
  versions?: Version[];
  /** What shows at the path so far. */
  live?: Version;
}

/** Paths of all layers together, beyond which no tree is made: each takes some hundred bytes of memory. */
const mostPaths = 1_000_000;

/** Layers are laid from the lowest on; then each layer's folders are listed. */
export class FileTree {
  readonly #root: Node = {};
  #paths = 0;

  /** Lays a file. Its path has no `..` and no empty parts; '' is the root, which is left out. */
  put(layer: number, path: string, file: LaidFile): void {
    if (path === '') return;
    const node = this.#node(path);
    const old = node.live;
    const before = node.versions?.at(-1)?.layer === layer ? node.versions.pop() : undefined;
    const lower = old?.layer === layer ? undefined : old;
    let state: FileState = 'added';
    if (before !== undefined) state = before.state === 'removed' ? 'changed' : before.state;
    if (lower !== undefined) {
      state = lower.type === 'dir' && file.type === 'dir' && sameMode(lower, file) ? 'same' : 'changed';
      if (lower.type !== 'dir') lower.goneAt = layer;
    }
    if (file.type !== 'dir' && old?.type === 'dir') this.#hide(node, layer, false);
    const version: Version = { ...file, layer, state };
    node.versions ??= [];
    node.versions.push(version);
    node.live = version;
  }

  /** Removes what lower layers have at a path. */
  remove(layer: number, path: string): void {
    const node = this.#find(path);
    // What nothing below has, or this layer has made itself, is not removed.
    if (node === undefined || node.live?.layer === layer || !shows(node)) return;
    this.#gone(node, layer);
  }

  /** Removes what lower layers have in a folder. */
  clear(layer: number, path: string): void {
    const node = this.#find(path);
    if (node !== undefined) this.#hide(node, layer, true);
  }

  /** The folders that a layer has something in, each with its list by name. */
  *listed(layer: number): Generator<{ folder: string; files: ListedFile[] }, FileSums> {
    return (yield* this.#list(this.#root, '', layer)) ?? { files: 0, bytes: 0, wasted: 0, removed: 0 };
  }

  *#list(
    node: Node,
    folder: string,
    layer: number,
  ): Generator<{ folder: string; files: ListedFile[] }, FileSums | undefined> {
    const sums: FileSums = { files: 0, bytes: 0, wasted: 0, removed: 0 };
    const files: ListedFile[] = [];
    for (const [name, child] of node.children ?? []) {
      const below = yield* this.#list(child, `${folder}/${name}`, layer);
      const version = child.versions?.find((each) => each.layer === layer);
      if (below !== undefined) {
        sums.files += below.files;
        sums.bytes += below.bytes;
        sums.wasted += below.wasted;
        sums.removed += below.removed;
      }
      if (version === undefined) {
        if (below !== undefined) files.push({ ...unnamed, name, state: 'same', below });
        continue;
      }
      const { layer: _, ...file } = version;
      files.push({ name, ...file, below });
      if (version.state === 'removed') sums.removed += version.size;
      else if (version.type !== 'dir') {
        sums.files++;
        sums.bytes += version.size;
        if (version.goneAt !== undefined) sums.wasted += version.size;
      }
    }
    if (files.length === 0) return undefined;
    yield { folder: folder === '' ? '/' : folder, files: files.sort((a, b) => compareNames(a.name, b.name)) };
    return sums;
  }

  /** Hides what lower layers have below a node. `told`: what goes is listed, each topmost path of it once. */
  #hide(node: Node, layer: number, told: boolean): number {
    let bytes = 0;
    for (const child of node.children?.values() ?? []) {
      if (child.live === undefined || child.live.layer === layer) bytes += this.#hide(child, layer, told);
      else if (told) bytes += this.#gone(child, layer);
      else bytes += this.#drop(child, layer);
    }
    return bytes;
  }

  /** Hides a path with all below it, and lists it as removed. */
  #gone(node: Node, layer: number): number {
    const { type, mode, uid, gid } = node.live ?? unnamed;
    const size = this.#drop(node, layer);
    node.versions ??= [];
    node.versions.push({ type, mode, uid, gid, size, layer, state: 'removed' });
    return size;
  }

  #drop(node: Node, layer: number): number {
    const { live } = node;
    let bytes = 0;
    if (live !== undefined) {
      live.goneAt = layer;
      if (live.type !== 'dir') bytes += live.size;
      node.live = undefined;
    }
    return bytes + this.#hide(node, layer, false);
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of path === '' ? [] : path.split('/')) node = node?.children?.get(name);
    return node;
  }

  #node(path: string): Node {
    let node = this.#root;
    for (const name of path.split('/')) {
      node.children ??= new Map();
      let child = node.children.get(name);
      if (child === undefined) {
        if (++this.#paths > mostPaths) {
          throw fail('exhausted', 'store', `the image has more than ${mostPaths} files`, {
            hint: 'Its files are not listed. `drydock save` gives its layers.',
          });
        }
        child = {};
        node.children.set(name, child);
      }
      node = child;
    }
    return node;
  }
}

const unnamed: LaidFile = { type: 'dir', size: 0, mode: 0o755, uid: 0, gid: 0 };

/** Whether there is something at a path. A tar may have files without their folders. */
function shows({ live, children }: Node): boolean {
  return live !== undefined || (children?.values().some(shows) ?? false);
}

function sameMode(a: LaidFile, b: LaidFile): boolean {
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid;
}
