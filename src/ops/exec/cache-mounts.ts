/**
 * Cache mounts: folders that steps share between builds (`RUN --mount=type=cache`). They are no snapshots and in no
 * layer. One folder per cache under `<root>/cache-mounts/`, with numbered instances (more than one only for private
 * sharing); who uses an instance holds a lock on it, which the kernel drops should the process die.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canceled, fail, throwIfAborted } from '../../errors/error.ts';
import { tryLock, tryLockShared } from '../../linux/libc.ts';
import { digestOf, hex } from '../../oci/digest.ts';

export type Sharing = 'shared' | 'private' | 'locked';

export interface CacheMountRequest {
  id: string;
  sharing: Sharing;
  /** Fills a new instance's empty folder; caches seeded with different `key`s are different ones. */
  seed?: { key: string; fill(dir: string): Promise<void> };
}

export interface CacheMountInfo {
  id: string;
  /** Bytes on disk. */
  size: number;
  /** ms since the epoch */
  createdAt: number;
  lastUsedAt: number;
  inUse: boolean;
}

export interface HeldCacheMount {
  /** Host folder to mount. */
  path: string;
  release(): void;
}

/** How long to wait between tries for a locked cache, ms. */
const retryMs = 25;

export class CacheMounts {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Takes a cache for a step: shared with others, an instance of one's own, or one after the other. Waits for a
   * locked one; throws `canceled` when the signal fires.
   */
  async acquire(request: CacheMountRequest, signal: AbortSignal): Promise<HeldCacheMount> {
    const { id, sharing, seed } = request;
    const name = seed === undefined ? id : `${id}:${seed.key}`;
    const folder = join(this.#dir, hex(digestOf(name)).slice(0, 32));
    for (;;) {
      throwIfAborted(signal);
      this.#describe(folder, name);
      for (let i = 0; ; i++) {
        const instance = join(folder, String(i));
        const fd = lockInstance(instance, sharing === 'shared');
        if (fd !== undefined) return await ready(instance, fd, request);
        if (sharing !== 'private') break;
      }
      await sleep(retryMs, undefined, { signal }).catch((err) => {
        throw canceled(err);
      });
    }
  }

  /** All caches, with what they take on disk. */
  async list(): Promise<CacheMountInfo[]> {
    const infos: CacheMountInfo[] = [];
    for (const folder of this.#folders()) {
      const meta = describe(folder);
      if (meta === undefined) continue;
      const locks = instancesOf(folder).map((instance) => join(instance, 'lock'));
      const used = locks.map((lock) => statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0);
      infos.push({
        ...meta,
        size: await sizeOf(folder),
        lastUsedAt: Math.round(Math.max(meta.createdAt, ...used)),
        inUse: locks.some(isLocked),
      });
    }
    return infos;
  }

  /** Removes a cache's instances that no step uses, and returns the bytes given back. */
  async remove(id: string): Promise<number> {
    const folder = join(this.#dir, hex(digestOf(id)).slice(0, 32));
    let bytes = 0;
    for (const instance of instancesOf(folder)) {
      const fd = lockInstance(instance, false);
      if (fd === undefined) continue;
      try {
        bytes += await sizeOf(instance);
        const trash = join(this.#dir, `trash-${randomUUID()}`);
        renameSync(instance, trash);
        await rm(trash, { recursive: true, force: true });
      } finally {
        closeSync(fd);
      }
    }
    if (instancesOf(folder).length === 0) await rm(folder, { recursive: true, force: true });
    return bytes;
  }

  #describe(folder: string, id: string): void {
    if (existsSync(join(folder, 'cache.json'))) return;
    mkdirSync(folder, { recursive: true, mode: 0o711 });
    const temp = join(folder, `cache.${randomUUID()}`);
    writeFileSync(temp, JSON.stringify({ id, createdAt: Date.now() }));
    renameSync(temp, join(folder, 'cache.json'));
  }

  #folders(): string[] {
    if (!existsSync(this.#dir)) return [];
    return readdirSync(this.#dir)
      .filter((name) => /^[0-9a-f]{32}$/.test(name))
      .map((name) => join(this.#dir, name));
  }
}

/** The data folder of a locked instance, made and seeded when it is new. */
async function ready(instance: string, fd: number, { seed, id }: CacheMountRequest): Promise<HeldCacheMount> {
  try {
    const now = new Date();
    futimesSync(fd, now, now);
    const path = join(instance, 'data');
    if (!existsSync(path)) {
      const temp = join(instance, `new-${randomUUID()}`);
      mkdirSync(temp, { mode: 0o755 });
      try {
        await seed?.fill(temp);
        renameSync(temp, path);
      } catch (err) {
        rmSync(temp, { recursive: true, force: true });
        // Another step that shares the cache was first.
        if (!existsSync(path)) throw err;
      }
    }
    return { path, release: () => closeSync(fd) };
  } catch (cause) {
    closeSync(fd);
    throw fail('internal', 'exec', `cannot set up cache mount ${id}`, { cause });
  }
}

/** Locks an instance; undefined when another has it. The lock file is checked to be the one still in place. */
function lockInstance(instance: string, shared: boolean): number | undefined {
  for (;;) {
    mkdirSync(instance, { recursive: true, mode: 0o711 });
    const path = join(instance, 'lock');
    let fd: number;
    try {
      fd = openSync(path, 'a', 0o600);
    } catch {
      continue; // Removed between the two.
    }
    const got = shared ? tryLockShared(fd) : tryLock(fd);
    if (got && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
    closeSync(fd);
    if (!got) return undefined;
  }
}

function isLocked(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return false;
  }
  try {
    return !tryLock(fd);
  } finally {
    closeSync(fd);
  }
}

function instancesOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name))
    .map((name) => join(folder, name));
}

function describe(folder: string): { id: string; createdAt: number } | undefined {
  try {
    const { id, createdAt } = JSON.parse(readFileSync(join(folder, 'cache.json'), 'utf8'));
    return typeof id === 'string' && typeof createdAt === 'number' ? { id, createdAt } : undefined;
  } catch {
    return undefined;
  }
}

/** Bytes allocated below a folder; what vanishes meanwhile counts nothing. */
async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  const folders = [folder];
  for (let dir = folders.pop(); dir !== undefined; dir = folders.pop()) {
    for (const entry of await readdir(dir, { withFileTypes: true }).catch(() => [])) {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) folders.push(path);
      bytes += ((await lstat(path).catch(() => undefined))?.blocks ?? 0) * 512;
    }
  }
  return bytes;
}
