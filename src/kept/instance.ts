/** One instance of a kept folder, and the lock that tells whether it is in use. */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { markTop, tryLock, tryLockShared } from '../linux/index.ts';

/** An instance that this process holds. The kernel drops its lock if the process dies. */
export class HeldFolder {
  readonly #instance: string;
  readonly #fd: number;

  constructor(instance: string, fd: number) {
    this.#instance = instance;
    this.#fd = fd;
    const now = new Date();
    futimesSync(fd, now, now);
  }

  /**
   * The path of the folder itself. A new one is filled first and then moved into place, so it is there in full or not
   * at all. When several hold the instance together, the first one's folder stays.
   */
  async data(options: { mode?: number; fill?: (dir: string) => Promise<void> } = {}): Promise<string> {
    const path = dataOf(this.#instance);
    if (existsSync(path)) return path;
    const temp = join(this.#instance, `new-${randomUUID()}`);
    mkdirSync(temp, { mode: options.mode ?? 0o700 });
    try {
      await options.fill?.(temp);
      renameSync(temp, path);
    } catch (err) {
      rmSync(temp, { recursive: true, force: true });
      if (!existsSync(path)) throw err;
    }
    return path;
  }

  release(): void {
    closeSync(this.#fd);
  }
}

/** The path of an instance's data. */
export function dataOf(instance: string): string {
  return join(instance, 'data');
}

/**
 * Locks an instance, which is made when missing; undefined when it is in use. Checks that the lock is still in place.
 */
export function lockInstance(instance: string, shared: boolean): number | undefined {
  for (;;) {
    const isNew = mkdirSync(instance, { recursive: true, mode: 0o700 }) !== undefined;
    const path = lockOf(instance);
    let fd: number;
    try {
      // Its data gets another region of the disk each time that it is made anew.
      if (isNew) markTop(instance);
      fd = openSync(path, 'a', 0o600);
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code === 'ENOENT') continue; // removed between the two
      throw err;
    }
    const got = shared ? tryLockShared(fd) : tryLock(fd);
    if (got && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
    closeSync(fd);
    if (!got) return undefined;
  }
}

/** Whether an instance is in use. */
export function isHeld(instance: string): boolean {
  let fd: number;
  try {
    fd = openSync(lockOf(instance), 'r');
  } catch {
    return false;
  }
  try {
    return !tryLock(fd);
  } finally {
    closeSync(fd);
  }
}

/** When the instance was taken last, ms since the epoch; 0 when never. */
export function lastUse(instance: string): number {
  return Math.round(statSync(lockOf(instance), { throwIfNoEntry: false })?.mtimeMs ?? 0);
}

/** The instances of a kept folder. */
export function instancesOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name))
    .map((name) => join(folder, name));
}

export function lockOf(instance: string): string {
  return join(instance, 'lock');
}
