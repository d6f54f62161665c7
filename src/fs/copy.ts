/**
 * The copy action, which does the work of COPY and ADD with the meaning of LLB's FileActionCopy. Copied files keep
 * their bytes, holes, hard links among themselves, extended attributes and times; owner, mode and times may be set
 * instead.
 */

import { canceled, DrydockError, errnoCode, fail } from '../errors/index.ts';
import { linkSync, symlinkSync } from '../linux/index.ts';
import type { FileActionSpec } from './actions.ts';
import { type ModeChange, octalMode, parseMode } from './chmod.ts';
import { copiedAttributes, mkdirAll } from './edit.ts';
import { openKept } from './kept-view.ts';
import {
  type Abortable,
  type Attributes,
  copyFile,
  finishPath,
  isOurs,
  makeNode,
  setAttributes,
  stopper,
} from './make.ts';
import { type Ids, resolveOwner } from './owner.ts';
import { baseName, dirName, joinPath } from './paths.ts';
import { requirePaths, resolveSources, type Source, walkSelected } from './select.ts';
import type { Dir, LayerTarget } from './target.ts';
import { unpackInto } from './unpack.ts';
import type { FsEntry, FsView } from './view.ts';

type CopyAction = Extract<FileActionSpec, { kind: 'copy' }>;

interface Frame {
  dir: Dir;
  /** The time to set when everything in the folder has been made. */
  mtimeNs: bigint | undefined;
}

/**
 * Copies into the layer. Throws `not-found` for a missing source, and `invalid` when the destination is in the way, a
 * pattern is malformed or an archive to unpack is bad.
 */
export async function applyCopy(target: LayerTarget, action: CopyAction, ctx: Abortable): Promise<void> {
  const view = openKept(action.source, stopper(ctx));
  requirePaths(view, action.source, action.requiredPaths);
  const sources = sourcesOf(view, action, stopper(ctx));
  if (sources.length === 0) {
    if (action.allowEmptyWildcard) return;
    throw fail('not-found', 'file', `${action.src} not found`, {
      hint: 'Check the path; of the build context, .dockerignore may leave it out.',
      details: { pattern: action.src },
    });
  }
  if (!action.createDestPath) {
    const dest = target.resolve(action.dest, true);
    if (target.dir(dirName(dest)) === undefined) {
      throw fail('not-found', 'file', `failed to stat ${action.dest}: no such file or directory`);
    }
  }
  const copier = new Copier(target, view, action, ctx);
  for (const source of sources) {
    if (action.unpack && source.entry.type === 'file' && !source.excluded) {
      const how = { owner: copier.owner, timestampNs: action.timestampNs };
      if (await unpackInto(target, source.entry, action.dest, how, ctx)) continue;
    }
    copier.copy(source);
  }
  copier.finish();
}

function sourcesOf(view: FsView, action: CopyAction, giveWay: () => void): Source[] {
  try {
    return resolveSources(view, action.source, action.src, {
      wildcard: action.allowWildcard,
      followLinks: action.followSymlink,
      excludes: action.excludes,
      giveWay,
    });
  } catch (err) {
    const path = err instanceof DrydockError && err.code === 'not-found' ? err.details?.path : undefined;
    if (path === undefined) throw err;
    // This is the message of a copy itself; before it, in a cache key, BuildKit's message is that of `missing`.
    const { hint, details } = err as DrydockError;
    throw fail('not-found', 'file', `lstat ${path}: no such file or directory`, { hint, details });
  }
}

class Copier {
  readonly owner: Ids | undefined;
  readonly #target: LayerTarget;
  readonly #view: FsView;
  readonly #action: CopyAction;
  readonly #ctx: Abortable;
  readonly #mode: ModeChange | undefined;
  /** The mode of folders made on the way to the destination. */
  readonly #dirMode: number;
  /** Inode of a source with several names → its first copy. */
  #links = new Map<string, string>();
  /** Folders made on the way. */
  #made: Dir[] = [];
  #count = 0;
  /** Whether files may be linked instead of copied, as far as is known. */
  #mayLink: boolean;

  constructor(target: LayerTarget, view: FsView, action: CopyAction, ctx: Abortable) {
    this.#target = target;
    this.#view = view;
    this.#action = action;
    this.#ctx = ctx;
    this.owner = resolveOwner(action.owner);
    this.#mode = action.mode === undefined ? undefined : parseMode(action.mode);
    const { source, link } = action;
    const state = source.kind === 'folder' ? source.state : undefined;
    this.#mayLink = link === true && (state === 'given' || state === 'kept');
    // Setuid, setgid and sticky bits are for the copied files only.
    this.#dirMode = ((action.mode === undefined ? undefined : octalMode(action.mode)) ?? 0o755) & 0o777;
  }

  copy(source: Source): void {
    this.#links = new Map();
    const { dest } = this.#action;
    const isDir = source.entry.type === 'dir';
    if (/\/\.?$/.test(dest)) this.#mkdirAll(dest);
    let path = this.#target.resolve(dest, true);
    const there = this.#target.lstat(path);
    const into = isDir ? !this.#action.dirCopyContents && there !== undefined : there?.type === 'dir';
    if (into) path = source.name === '' ? path : joinPath(path, source.name);
    const contents = isDir && this.#action.dirCopyContents;
    if (contents && (there === undefined || path === '/')) this.#mkdirAll(path);
    const parent = path === '/' ? undefined : this.#mkdirAll(dirName(path));
    // Of a source that an exclude leaves out, only the destination folder is made.
    if (source.excluded) return;
    if (isDir) this.#copyTree(source.entry, parent, baseName(path));
    else this.#copyFile(source.entry, parent!, baseName(path));
  }

  /** Sets the times of the folders made on the way, when everything in them has been made. */
  finish(): void {
    const { timestampNs } = this.#action;
    if (timestampNs !== undefined) for (const made of this.#made) this.#target.setDirTime(made, timestampNs);
  }

  #mkdirAll(path: string): Dir {
    const { dir, made } = mkdirAll(this.#target, path, {
      mode: this.#dirMode,
      owner: this.owner,
      timestampNs: this.#action.timestampNs,
    });
    this.#made.push(...made);
    return dir;
  }

  /** Copies a tree; with `parent` undefined, onto the root. */
  #copyTree(root: FsEntry, parent: Dir | undefined, rootName: string): void {
    const { includes, excludes } = this.#action;
    const frames: Frame[] = [];
    walkSelected(
      this.#view,
      root,
      { includes, excludes },
      {
        giveWay: () => this.#tick(),
        enter: (entry, rel, asParent) => {
          this.#tick();
          const above = frames.at(-1)?.dir ?? parent;
          const name = rel === '' ? rootName : entry.name;
          frames.push(this.#enterDir(entry, above, name, rel === '', asParent));
        },
        file: (entry) => this.#copyFile(entry, frames.at(-1)!.dir, entry.name),
        leave: () => {
          const { dir, mtimeNs } = frames.pop()!;
          if (mtimeNs !== undefined) this.#target.setDirTime(dir, mtimeNs);
        },
      },
    );
  }

  #enterDir(entry: FsEntry, above: Dir | undefined, name: string, isRoot: boolean, asParent: boolean): Frame {
    const target = this.#target;
    const attributes = copiedAttributes(entry, {
      owner: this.owner,
      mode: this.#mode,
      timestampNs: this.#action.timestampNs,
    });
    const { mtimeNs } = attributes;
    if (above === undefined) return { dir: target.root, mtimeNs };
    const there = target.lookup(above, name);
    if (there !== undefined && there.type !== 'dir') {
      if (!this.#action.alwaysReplaceExistingDestPaths) {
        throw fail('invalid', 'file', `cannot copy to non-directory: ${there.path}`);
      }
      target.remove(above, name);
    }
    const dir = there?.type === 'dir' ? target.child(above, name) : undefined;
    if (dir === undefined) {
      const xattrs = this.#view.xattrs(entry);
      return { dir: target.mkdir(above, name, { ...attributes, xattrs }), mtimeNs };
    }
    // An existing destination keeps its attributes; folders in it take on those of the source's folders.
    if (isRoot) return { dir, mtimeNs };
    if (asParent) {
      target.setDirMode(dir, entry.mode);
      return { dir, mtimeNs: undefined };
    }
    target.setDir(dir, { ...attributes, xattrs: this.#view.xattrs(entry) });
    return { dir, mtimeNs };
  }

  #copyFile(entry: FsEntry, dir: Dir, name: string): void {
    this.#tick();
    if (entry.type === 'socket') return;
    const target = this.#target;
    const there = target.lookup(dir, name);
    if (there?.type === 'dir') {
      if (!this.#action.alwaysReplaceExistingDestPaths) {
        throw fail('invalid', 'file', `cannot replace to directory ${there.path} with file`);
      }
      target.remove(dir, name);
    }
    const host = target.place(dir, name);
    const link = entry.nlink > 1 && entry.type === 'file' ? `${entry.dev}:${entry.ino}` : undefined;
    const first = link === undefined ? undefined : this.#links.get(link);
    if (first !== undefined) {
      linkSync(first, host);
      return;
    }
    if (link !== undefined) this.#links.set(link, host);
    const attributes = copiedAttributes(entry, {
      owner: this.owner,
      mode: this.#mode,
      timestampNs: this.#action.timestampNs,
    });
    if (entry.type === 'file') {
      if (this.#linked(entry, host, attributes)) return;
      target.bytes += copyFile(entry, host, attributes, dir.setgid, this.#ctx, target.files);
      finishPath(host, { ...attributes, xattrs: this.#view.xattrs(entry) });
      return;
    }
    if (entry.type === 'symlink') symlinkSync(entry.link ?? '', host);
    else makeNode(host, entry);
    setAttributes(host, entry.type, attributes);
  }

  /** Links the source's own file into the layer when it may stay exactly as it is. */
  #linked(entry: FsEntry, host: string, attributes: Attributes): boolean {
    if (!this.#mayLink || attributes.mode !== entry.mode || !isOurs(attributes)) return false;
    if (attributes.mtimeNs !== undefined && attributes.mtimeNs !== entry.mtimeNs) return false;
    try {
      if (!this.#target.link(entry, host)) return false;
    } catch (err) {
      const code = errnoCode(err);
      // A file may have its most links.
      if (code === 'EMLINK') return false;
      if (code !== 'EXDEV' && code !== 'EPERM') throw err;
      this.#mayLink = false;
      return false;
    }
    this.#target.bytes += entry.size;
    return true;
  }

  #tick(): void {
    if ((++this.#count & 63) === 0 && this.#ctx.aborted()) throw canceled();
  }
}
