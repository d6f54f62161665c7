/** A file that a command writes for its user. It appears under its name only when it is whole. */
import {
  closeSync,
  constants,
  createWriteStream,
  fchmodSync,
  fstatSync,
  openSync,
  rmSync,
  statSync,
  type WriteStream,
} from 'node:fs';
import { copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';
import { errnoCode, fail } from '../errors/index.ts';
import { nameOf, rawName, tryLock } from '../linux/index.ts';
import { outputTarget, type TargetFile } from './output-target.ts';

/**
 * Opens `path` for writing. The bytes go to a part beside it, `.NAME.PID.part`. `finish` moves the part into place;
 * `abandon` removes it, and an older file stays as it was. The part is locked, so that the next process that writes
 * this file recognizes and removes the part of a killed one. Symlinks are followed. A device, a FIFO or an open
 * descriptor (`/dev/stdout`) is written into, and nothing of that can be taken back.
 *
 *     const file = new OutputFile('image.tar');
 *     await pipeline(bytes, await file.open());
 *     await file.finish();
 */
export class OutputFile {
  readonly #named: string;
  #target: TargetFile | undefined;
  #temporary = '';
  #lock: number | undefined;

  constructor(path: string) {
    this.#named = path;
  }

  /** Finds out whether a file can be written there, without making one. Throws `invalid`. */
  async check(): Promise<void> {
    await outputTarget(this.#named);
  }

  /** Throws `invalid` where no file can be written. `signal` ends the wait for the reader of a FIFO. */
  async open(signal?: AbortSignal): Promise<WriteStream> {
    const target = await outputTarget(this.#named);
    if (target.how === 'into') return openInto(target.path, signal);
    this.#target = target;
    const { path } = target;
    this.#temporary = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
    await mkdir(rawName(dirname(path)), { recursive: true });
    await removeLeft(path);
    this.#lock ??= lockNew(this.#temporary);
    if (target.mode !== undefined) fchmodSync(this.#lock, target.mode);
    return createWriteStream(rawName(this.#temporary), { flags: 'r+', highWaterMark: 1 << 20 });
  }

  async finish(): Promise<void> {
    if (this.#lock === undefined || this.#target === undefined) return;
    await moveOnto(this.#temporary, this.#target.path);
    this.#unlock();
  }

  async abandon(): Promise<void> {
    if (this.#lock === undefined) return;
    await rm(rawName(this.#temporary), { force: true });
    this.#unlock();
  }

  #unlock(): void {
    if (this.#lock !== undefined) closeSync(this.#lock);
    this.#lock = undefined;
  }
}

/** Writes a small file as a whole. Throws as `OutputFile` does. */
export async function writeOutput(path: string, text: string): Promise<void> {
  const file = new OutputFile(path);
  try {
    const out = await file.open();
    out.end(text);
    await finished(out);
    await file.finish();
  } catch (err) {
    await file.abandon();
    throw err;
  }
}

/** The time between looks at a FIFO that nobody reads yet, in ms. */
const fifoWait = 50;

/**
 * Opens a device or a FIFO. A FIFO without a reader is asked again and again, because an open that waits in the kernel
 * could not be cancelled.
 */
async function openInto(path: string, signal: AbortSignal | undefined): Promise<WriteStream> {
  for (;;) {
    let probe: number;
    try {
      probe = openSync(rawName(path), constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch (err) {
      if (errnoCode(err) !== 'ENXIO') throw err;
      await setTimeout(fifoWait, undefined, { signal });
      continue;
    }
    try {
      // The same file once more, as one whose writes wait.
      const fd = openSync(`/proc/self/fd/${probe}`, constants.O_WRONLY | constants.O_NOCTTY);
      return createWriteStream(rawName(path), { fd, highWaterMark: 1 << 20 });
    } finally {
      closeSync(probe);
    }
  }
}

/** Moves a whole file into place. A file that is a mount of its own cannot be moved onto; it is written over. */
async function moveOnto(part: string, path: string): Promise<void> {
  try {
    await rename(rawName(part), rawName(path));
  } catch (err) {
    if (errnoCode(err) !== 'EBUSY') throw err;
    await copyFile(rawName(part), rawName(path));
    await rm(rawName(part), { force: true });
  }
}

/** Makes a file, and locks it for as long as its descriptor is open. */
function lockNew(path: string): number {
  for (;;) {
    const fd = openSync(rawName(path), 'a', 0o666);
    const got = tryLock(fd);
    // Another may have taken it for a dead one's before it was locked, and removed it.
    if (got && statSync(rawName(path), { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
    closeSync(fd);
    if (!got) throw fail('invalid', 'client', `${path} is being written by another output of this command`);
  }
}

/** Removes the parts that killed processes have left of this file. */
async function removeLeft(path: string): Promise<void> {
  const start = `.${basename(path)}.`;
  for (const raw of await readdir(rawName(dirname(path)), 'buffer')) {
    const name = nameOf(raw);
    if (!name.startsWith(start) || !/^\d+\.part$/.test(name.slice(start.length))) continue;
    const part = join(dirname(path), name);
    let fd: number;
    try {
      fd = openSync(rawName(part), 'r');
    } catch {
      continue; // another removes it, or it is none of ours
    }
    try {
      if (tryLock(fd)) rmSync(rawName(part), { force: true });
    } finally {
      closeSync(fd);
    }
  }
}
