/**
 * What clients elsewhere have sent of their folders, kept so that the next build need be sent only what changed. One
 * folder per client's folder under `<root>/sync/`, with numbered instances (more than one where builds ran at once);
 * who uses an instance holds a lock on it, which the kernel drops should the process die.
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
  statSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { tryLock } from '../linux/libc.ts';
import { digestOf, hex } from '../oci/digest.ts';
import { runTask } from '../workers/pool.ts';

export interface SyncFolderInfo {
  id: string;
  description: string;
  /** Bytes on disk. */
  size: number;
  /** ms since the epoch */
  createdAt: number;
  lastUsedAt: number;
  inUse: boolean;
}

/** Not used for so long, they are removed, ms: a week. */
const keepFor = 7 * 24 * 3600_000;
const sweepEvery = 3600_000;
let lastSweep = 0;

export class SyncFolders {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * An instance that nobody else uses until it is released, best the one used last. `key` is the client's folder's
   * identity, `name` what to call it.
   */
  claim(key: string, name: string): { dir: string; release(): void } {
    this.#sweepNowAndThen();
    const folder = join(this.#dir, hex(digestOf(key)).slice(0, 32));
    for (let n = 0; ; n++) {
      const instance = join(folder, String(n));
      const fd = lockInstance(instance);
      if (fd === undefined) continue;
      describeNew(folder, name);
      const dir = join(instance, 'data');
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      touch(fd);
      return { dir, release: () => closeSync(fd) };
    }
  }

  /** All folders, with what they take on disk. */
  async list(): Promise<SyncFolderInfo[]> {
    const infos: SyncFolderInfo[] = [];
    for (const id of this.#ids()) {
      const folder = join(this.#dir, id);
      const meta = describe(folder);
      if (meta === undefined) continue;
      const { size } = await runTask('store.usage', { dir: folder });
      infos.push({
        id,
        description: `local source for ${meta.name}`,
        size,
        createdAt: meta.createdAt,
        lastUsedAt: Math.max(meta.createdAt, ...instancesOf(folder).map(lastUse)),
        inUse: instancesOf(folder).some(isLocked),
      });
    }
    return infos;
  }

  /** Removes a folder's instances that no build uses, and returns the bytes given back. */
  async remove(id: string): Promise<number> {
    if (!isId(id)) return 0;
    return this.#removeFolder(join(this.#dir, id), () => true);
  }

  async #removeFolder(folder: string, doomed: (instance: string) => boolean): Promise<number> {
    let bytes = 0;
    for (const instance of instancesOf(folder)) {
      if (!doomed(instance)) continue;
      const fd = lockInstance(instance);
      if (fd === undefined) continue;
      try {
        const trash = join(this.#dir, `trash-${randomUUID()}`);
        renameSync(instance, trash);
        bytes += await runTask('store.remove', { paths: [trash], measure: true });
      } finally {
        closeSync(fd);
      }
    }
    if (instancesOf(folder).length === 0) await rm(folder, { recursive: true, force: true });
    return bytes;
  }

  /** Removes, beside what runs, what has not been used for long, and what a killed process was removing. */
  #sweepNowAndThen(): void {
    const now = Date.now();
    if (now - lastSweep < sweepEvery) return;
    lastSweep = now;
    void this.sweep(now).catch(() => {}); // the next one tries again
  }

  /** Removes what was not used in the week before `now` (ms since the epoch). */
  async sweep(now: number): Promise<void> {
    if (!existsSync(this.#dir)) return;
    for (const name of readdirSync(this.#dir)) {
      if (name.startsWith('trash-')) await runTask('store.remove', { paths: [join(this.#dir, name)] });
    }
    for (const id of this.#ids()) {
      await this.#removeFolder(join(this.#dir, id), (instance) => now - lastUse(instance) > keepFor);
    }
  }

  #ids(): string[] {
    return existsSync(this.#dir) ? readdirSync(this.#dir).filter(isId) : [];
  }
}

function isId(name: string): boolean {
  return /^[0-9a-f]{32}$/.test(name);
}

/** Locks an instance, made when missing; undefined when another has it. */
function lockInstance(instance: string): number | undefined {
  for (;;) {
    mkdirSync(instance, { recursive: true, mode: 0o700 });
    const path = join(instance, 'lock');
    let fd: number;
    try {
      fd = openSync(path, 'a', 0o600);
    } catch {
      continue; // removed between the two
    }
    if (!tryLock(fd)) {
      closeSync(fd);
      return undefined;
    }
    // It must be the one that is still in place.
    if (statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
    closeSync(fd);
  }
}

function isLocked(instance: string): boolean {
  let fd: number;
  try {
    fd = openSync(join(instance, 'lock'), 'r');
  } catch {
    return false;
  }
  try {
    return !tryLock(fd);
  } finally {
    closeSync(fd);
  }
}

function touch(fd: number): void {
  const now = new Date();
  futimesSync(fd, now, now);
}

/** ms since the epoch */
function lastUse(instance: string): number {
  return Math.round(statSync(join(instance, 'lock'), { throwIfNoEntry: false })?.mtimeMs ?? 0);
}

function instancesOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^\d+$/.test(name))
    .map((name) => join(folder, name));
}

function describeNew(folder: string, name: string): void {
  const file = join(folder, 'sync.json');
  if (existsSync(file)) return;
  const temp = join(folder, `sync.${randomUUID()}`);
  writeFileSync(temp, JSON.stringify({ name, createdAt: Date.now() }));
  renameSync(temp, file);
}

function describe(folder: string): { name: string; createdAt: number } | undefined {
  try {
    const { name, createdAt } = JSON.parse(readFileSync(join(folder, 'sync.json'), 'utf8'));
    return typeof name === 'string' && typeof createdAt === 'number' ? { name, createdAt } : undefined;
  } catch {
    return undefined;
  }
}
