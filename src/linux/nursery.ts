import { closeSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../errors/index.ts';
import { linkSync, mkdirSync, openSync, rmSync, unlinkSync } from './files.ts';
import { markTop } from './top-folder.ts';

/** The longest that making a file takes where nothing is wrong, ms: it takes 0.01 to 0.05 on any disk of today. */
const slowMs = 0.15;
/** So many files in a row have to be slow: a single one may have waited for the disk, or for the processor. */
const slowInARow = 8;
/** So many regions are tried. If all are slow, it is not for the region. */
const mostMoves = 10;
/** `f_type` of ext2, ext3 and ext4 (statfs(2)). */
const ext4 = 0xef53;

interface NurseryOptions {
  /** Whether a file that took so long to make (ms) was slow; by default above 0.15 ms. */
  isSlow?: (ms: number) => boolean;
  /** Whether the filesystem of a folder has regions; by default ext4's has. */
  hasRegions?: (folder: string) => boolean;
}

/**
 * Makes new files, many of them, and fast.
 *
 * ext4 gives a file an inode in the region of its folder, and no inode that was freed within the last minutes: where many
 * files were deleted just now, it goes through all of them for each new one, which makes 5,000 files take seconds instead
 * of a tenth of one. Nothing tells in advance that a region is such a one. So the time is taken: once making files is
 * slow, the next ones are made in a folder in another region, and then moved to where they belong.
 */
export class Nursery {
  readonly #near: string;
  readonly #isSlow: (ms: number) => boolean;
  readonly #hasRegions: (folder: string) => boolean;
  /** The parent of the folders in other regions, once there is one. */
  #top: string | undefined;
  /** The folder in which files are made now; undefined: in their own. */
  #folder: string | undefined;
  #moves = 0;
  #files = 0;
  #slow = 0;

  /** `near`: a folder on the filesystem of the files, in which there may be another one for a while. */
  constructor(near: string, options: NurseryOptions = {}) {
    this.#near = near;
    this.#isSlow = options.isSlow ?? ((ms) => ms > slowMs);
    this.#hasRegions = options.hasRegions ?? ((folder) => statfsSync(folder).type === ext4);
  }

  /** Opens a new file, as `openSync` does; `flags` must make it. Throws EEXIST when the name is taken. */
  create(path: string, flags: number | string, mode: number): number {
    if (this.#folder !== undefined) {
      const fd = this.#createElsewhere(this.#folder, path, flags, mode);
      if (fd !== undefined) return fd;
    }
    return this.#timed(() => openSync(path, flags, mode));
  }

  /** Undefined when that does not work here. */
  #createElsewhere(folder: string, path: string, flags: number | string, mode: number): number | undefined {
    const born = `${folder}/${this.#files++}`;
    let fd: number | undefined;
    try {
      const made = this.#timed(() => openSync(born, flags, mode));
      fd = made;
      // Unlike a rename, a link does not replace what is there.
      linkSync(born, path);
      unlinkSync(born);
      return made;
    } catch (err) {
      // What is wrong with the path itself is found again by making the file there.
      const isPath = fd !== undefined && ['EEXIST', 'ENOENT'].includes(errnoCode(err) ?? '');
      if (fd !== undefined) closeSync(fd);
      if (!isPath) this.#stay();
      return undefined;
    }
  }

  #timed(make: () => number): number {
    const before = performance.now();
    const fd = make();
    if (this.#isSlow(performance.now() - before)) {
      if (++this.#slow >= slowInARow) this.#move();
    } else this.#slow = 0;
    return fd;
  }

  /** Makes the next files in another region. */
  #move(): void {
    this.#slow = 0;
    try {
      this.#folder = this.#moves < mostMoves ? this.#elsewhere() : undefined;
    } catch {
      this.#folder = undefined;
    }
    if (this.#folder === undefined) this.#stay();
  }

  /** A folder in another region, if there are regions. Those of before stay, or ext4 would choose the same again. */
  #elsewhere(): string | undefined {
    if (this.#top === undefined) {
      if (!this.#hasRegions(this.#near)) return undefined;
      const top = join(this.#near, `.drydock-new-${crypto.randomUUID()}`);
      mkdirSync(top, { mode: 0o700 });
      this.#top = top;
      markTop(top);
    }
    const folder = join(this.#top, String(this.#moves++));
    mkdirSync(folder, { mode: 0o700 });
    return folder;
  }

  /** Makes all further files in their own folders. */
  #stay(): void {
    this.#moves = Number.POSITIVE_INFINITY;
    this.#folder = undefined;
  }

  /** Removes what it made for itself. */
  close(): void {
    this.#stay();
    if (this.#top !== undefined) rmSync(this.#top, { recursive: true, force: true });
    this.#top = undefined;
  }
}
