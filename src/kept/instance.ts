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
import { runTask } from '../workers/index.ts';

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
    if (putBack(this.#instance)) return path;
    const temp = this.beside(freshName());
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

  /**
   * The path of a file or folder of this name beside the folder: facts about it, which go with it. Names that `data`,
   * `lock`, `new-` and `old-` begin are taken.
   */
  beside(name: string): string {
    return join(this.#instance, name);
  }

  /**
   * Puts a new folder in the place of the folder, which must be held exclusively. The new one is filled first: when
   * that fails, or the process dies, the folder is as it was.
   */
  async replace(fill: (dir: string) => Promise<void>): Promise<void> {
    await tidy(this.#instance);
    const [data, fresh, old] = [dataOf(this.#instance), this.beside(freshName()), this.beside(oldName())];
    mkdirSync(fresh, { mode: 0o755 });
    try {
      await fill(fresh);
      if (existsSync(data)) renameSync(data, old);
      renameSync(fresh, data);
    } finally {
      await tidy(this.#instance);
    }
  }

  release(): void {
    closeSync(this.#fd);
  }
}

const freshName = () => `new-${randomUUID()}`;
const oldName = () => `old-${randomUUID()}`;

/** Whether a process has left an instance in the middle of a change. */
export function isUntidy(instance: string): boolean {
  return existsSync(instance) && readdirSync(instance).some((name) => /^(?:new|old)-/.test(name));
}

/** Puts back a folder that was moved away and, as the process died, not replaced. Returns whether the folder is there. */
function putBack(instance: string): boolean {
  const data = dataOf(instance);
  if (existsSync(data)) return true;
  const old = readdirSync(instance).find((name) => name.startsWith('old-'));
  if (old === undefined) return false;
  try {
    renameSync(join(instance, old), data);
  } catch (err) {
    // Another holder has done it.
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
  }
  return existsSync(data);
}

/**
 * Removes what a killed process has left in an instance that is held exclusively. A folder that was moved away and not
 * replaced comes back.
 */
export async function tidy(instance: string): Promise<void> {
  putBack(instance);
  const left = readdirSync(instance).filter((name) => /^(?:new|old)-/.test(name));
  if (left.length > 0) await runTask('store.remove', { paths: left.map((name) => join(instance, name)) });
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

/** Whether an instance's folder holds anything. */
export function isFilled(instance: string): boolean {
  const data = dataOf(instance);
  return existsSync(data) && readdirSync(data).length > 0;
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
