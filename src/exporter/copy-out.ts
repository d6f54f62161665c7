/** Worker task `export.copy`: a tree's files out into a folder of the client's. */
import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { canceled, errnoCode } from '../errors/error.ts';
import { openView } from '../fs/open.ts';
import type { FsEntry, FsView, ViewSpec } from '../fs/view.ts';
import { lutimesNs, mknod, S_IFIFO } from '../linux/libc.ts';
import type { TaskContext } from '../workers/tasks.ts';

export interface CopyOutArgs {
  view: ViewSpec;
  /** Made when it is not there. Files in it stay unless one of the same name comes. */
  dest: string;
  /** Times of all that is written; undefined: as they are in the tree. */
  epochSeconds?: number;
}

export interface CopyProgress {
  bytes: number;
}

const progressStep = 8 << 20;

/**
 * Copies everything but device nodes and sockets. What is written belongs to the running user. Symlinks that stand in
 * the destination where the tree has a folder are replaced, never followed.
 */
export function copyOut(args: CopyOutArgs, ctx: TaskContext): { files: number; bytes: number } {
  const view = openView(args.view);
  mkdirSync(args.dest, { recursive: true });
  const fixed = args.epochSeconds === undefined ? undefined : BigInt(args.epochSeconds) * 1_000_000_000n;
  const copier = new Copier(view, fixed, ctx);
  copier.folder('/', args.dest);
  return { files: copier.files, bytes: copier.bytes };
}

class Copier {
  files = 0;
  bytes = 0;
  readonly #view: FsView;
  readonly #timeNs: bigint | undefined;
  readonly #ctx: TaskContext;
  readonly #linked = new Map<string, string>();
  #said = 0;

  constructor(view: FsView, timeNs: bigint | undefined, ctx: TaskContext) {
    this.#view = view;
    this.#timeNs = timeNs;
    this.#ctx = ctx;
  }

  folder(path: string, host: string): void {
    for (const entry of this.#view.readdir(path)) {
      if (this.#ctx.aborted()) throw canceled();
      this.#entry(entry, `${host}/${entry.name}`);
    }
  }

  #entry(entry: FsEntry, host: string): void {
    const time = this.#timeNs ?? entry.mtimeNs;
    switch (entry.type) {
      case 'dir': {
        const there = lstatSync(host, { throwIfNoEntry: false });
        if (there !== undefined && !there.isDirectory()) rmSync(host);
        if (there === undefined || !there.isDirectory()) mkdirSync(host, 0o700);
        this.folder(entry.path, host);
        chmodSync(host, entry.mode);
        break;
      }
      case 'file':
        this.#file(entry, host);
        break;
      case 'symlink':
        this.#placing(host, () => symlinkSync(entry.link ?? '', host));
        break;
      case 'fifo':
        this.#placing(host, () => mknod(host, S_IFIFO | entry.mode, 0));
        break;
      default:
        return;
    }
    lutimesNs(host, time, time);
    this.files++;
  }

  #file(entry: FsEntry, host: string): void {
    const inode = `${entry.dev}:${entry.ino}`;
    const first = entry.nlink > 1 ? this.#linked.get(inode) : undefined;
    if (first !== undefined) {
      this.#placing(host, () => linkSync(first, host));
      return;
    }
    this.#placing(host, () =>
      copyFileSync(entry.hostPath, host, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE),
    );
    chmodSync(host, entry.mode);
    if (entry.nlink > 1) this.#linked.set(inode, host);
    this.bytes += entry.size;
    if (this.bytes - this.#said >= progressStep) {
      this.#said = this.bytes;
      this.#ctx.post({ bytes: this.bytes } satisfies CopyProgress);
    }
  }

  /** Makes something new, in place of what is there. */
  #placing(host: string, make: () => void): void {
    try {
      make();
    } catch (err) {
      if (errnoCode(err) !== 'EEXIST') throw err;
      rmSync(host, { recursive: true });
      make();
    }
  }
}
