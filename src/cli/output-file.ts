/** A file that appears under its name only when it is whole. */
import {
  closeSync,
  createWriteStream,
  fstatSync,
  openSync,
  rmSync,
  statSync,
  type WriteStream,
} from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fail } from '../errors/error.ts';
import { tryLock } from '../linux/libc.ts';

/**
 * Opens `path` for writing beside itself, as `.NAME.PID.part`: `finish` moves it into place, `abandon` removes what was
 * written. The part is locked, so that the next who writes this file can tell a killed process's and removes it.
 */
export class OutputFile {
  readonly #path: string;
  readonly #temporary: string;
  #lock: number | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#temporary = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  }

  async open(): Promise<WriteStream> {
    await mkdir(dirname(this.#path), { recursive: true });
    await removeLeft(this.#path);
    this.#lock ??= lockNew(this.#temporary);
    return createWriteStream(this.#temporary, { flags: 'r+', highWaterMark: 1 << 20 });
  }

  async finish(): Promise<void> {
    if (this.#lock === undefined) return;
    await rename(this.#temporary, this.#path);
    this.#unlock();
  }

  async abandon(): Promise<void> {
    if (this.#lock === undefined) return;
    await rm(this.#temporary, { force: true });
    this.#unlock();
  }

  #unlock(): void {
    if (this.#lock !== undefined) closeSync(this.#lock);
    this.#lock = undefined;
  }
}

/** Makes a file, and locks it for as long as the descriptor is open. */
function lockNew(path: string): number {
  for (;;) {
    const fd = openSync(path, 'a', 0o666);
    const got = tryLock(fd);
    // Another may have taken it for a dead one's before it was locked, and removed it.
    if (got && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
    closeSync(fd);
    if (!got) throw fail('invalid', 'client', `${path} is being written by another output of this command`);
  }
}

/** Removes what killed processes have left of their tries at this file. */
async function removeLeft(path: string): Promise<void> {
  const start = `.${basename(path)}.`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(start) || !/^\d+\.part$/.test(name.slice(start.length))) continue;
    const part = join(dirname(path), name);
    let fd: number;
    try {
      fd = openSync(part, 'r');
    } catch {
      continue; // another removes it, or it is none of ours
    }
    try {
      if (tryLock(fd)) rmSync(part, { force: true });
    } finally {
      closeSync(fd);
    }
  }
}
