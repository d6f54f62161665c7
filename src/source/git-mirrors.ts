/** The git mirrors under a root's `git` folder, for `du` and `prune`. */
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { tryLock } from '../linux/libc.ts';
import { runTask } from '../workers/pool.ts';

/** A file in a mirror that says it is whole; it holds the remote's URL, without what is secret in it. */
export const readyFile = 'drydock-ready';

export interface GitMirrorInfo {
  id: string;
  description: string;
  /** Bytes on disk. */
  size: number;
  /** ms since the epoch */
  createdAt: number;
  lastUsedAt: number;
  inUse: boolean;
}

export class GitMirrors {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** All mirrors. */
  async list(): Promise<GitMirrorInfo[]> {
    const infos: GitMirrorInfo[] = [];
    for (const id of this.#ids()) {
      const dir = join(this.#dir, `${id}.git`);
      try {
        const ready = join(dir, readyFile);
        const remote = readFileSync(ready, 'utf8');
        const { size } = await runTask('store.usage', { dir });
        const lastUsedAt = Math.round(statSync(`${dir}.lock`).mtimeMs);
        const createdAt = Math.min(lastUsedAt, Math.round(statSync(ready).mtimeMs));
        const description = `git repository ${remote}`.trimEnd();
        infos.push({ id, description, size, createdAt, lastUsedAt, inUse: isLocked(`${dir}.lock`) });
      } catch {
        // Being made or removed by another.
      }
    }
    return infos;
  }

  /** Removes a mirror, unless a build uses it, and returns the bytes given back. */
  async remove(id: string): Promise<number> {
    if (!isId(id)) return 0;
    const dir = join(this.#dir, `${id}.git`);
    // The lock's file stays: who waits for it holds it open.
    const lock = openSync(`${dir}.lock`, 'a', 0o600);
    try {
      if (!tryLock(lock) || !existsSync(dir)) return 0;
      const trash = join(this.#dir, `trash-${randomUUID()}`);
      renameSync(dir, trash);
      return await runTask('store.remove', { paths: [trash], measure: true });
    } finally {
      closeSync(lock);
    }
  }

  #ids(): string[] {
    if (!existsSync(this.#dir)) return [];
    return readdirSync(this.#dir)
      .filter((name) => name.endsWith('.git'))
      .map((name) => name.slice(0, -'.git'.length))
      .filter(isId);
  }
}

function isId(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

function isLocked(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    return !tryLock(fd);
  } finally {
    closeSync(fd);
  }
}
