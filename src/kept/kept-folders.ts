/**
 * Folders of one kind that are kept under the root for the next build (cache mounts, clients' folders, git mirrors …)
 * and are neither snapshots nor cache records. `<dir>/<id>/N` are a folder's numbered instances: more than one where
 * builds wanted it to themselves at once. Who uses an instance holds its lock. Whoever a folder belongs to alone gets it.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { throwIfAborted } from '../errors/index.ts';
import { pause } from '../flow/index.ts';
import { markTop } from '../linux/index.ts';
import { digestOf, hex } from '../oci/index.ts';
import { runTask } from '../workers/index.ts';
import { dataOf, HeldFolder, instancesOf, isHeld, lastUse, lockInstance, lockOf } from './instance.ts';

/** A folder's key, and whose it is: each owner has one of its own; without one it is everybody's. */
export interface KeptKey {
  key: string;
  owner?: string;
  /** What it is called in lists; default: the key. */
  name?: string;
}

interface KeptFolderInfo {
  id: string;
  owner: string | undefined;
  description: string;
  /** Bytes on disk. */
  size: number;
  /** ms since the epoch */
  createdAt: number;
  lastUsedAt: number;
  inUse: boolean;
}

interface KeptKind {
  /** What a folder of this kind is called in lists. */
  describe(name: string): string;
  /** Instances not used for so long are removed, ms; without it they stay until somebody removes them. */
  keepFor?: number;
}

/** How long to wait between tries for a folder that another has, ms. */
const retryMs = 25;
const sweepEvery = 3600_000;
/** Folder of a kind → when this process swept it last, ms since the epoch. */
const swept = new Map<string, number>();

export class KeptFolders {
  readonly #dir: string;
  readonly #kind: KeptKind;

  constructor(dir: string, kind: KeptKind) {
    this.#dir = dir;
    this.#kind = kind;
  }

  /** An instance that nobody else has until it is released: the first that is free. */
  claim(key: KeptKey): HeldFolder {
    const folder = this.#open(key);
    for (let n = 0; ; n++) {
      const held = this.#lock(join(folder, String(n)), false);
      if (held !== undefined) return held;
    }
  }

  /**
   * The one instance that all share, or, not `shared`, have one after the other. Waits while others have it; throws
   * `canceled` when the signal fires.
   */
  async take(key: KeptKey, options: { shared?: boolean; signal: AbortSignal }): Promise<HeldFolder> {
    const { shared = false, signal } = options;
    for (;;) {
      throwIfAborted(signal);
      const held = this.#lock(join(this.#open(key), '0'), shared);
      if (held !== undefined) return held;
      await pause(retryMs, signal);
    }
  }

  /** Where the shared instance's data is, if there is any, marked as used. It is not held: it may vanish any time. */
  peek(key: KeptKey): string | undefined {
    const instance = join(this.#dir, idOf(key), '0');
    const data = dataOf(instance);
    if (!existsSync(data)) return undefined;
    try {
      const now = new Date();
      utimesSync(lockOf(instance), now, now);
    } catch {
      return undefined; // it went this moment
    }
    return data;
  }

  /** All folders, with what they take on disk. */
  async list(): Promise<KeptFolderInfo[]> {
    const infos: KeptFolderInfo[] = [];
    for (const id of this.#ids()) {
      const folder = join(this.#dir, id);
      const about = describe(folder);
      const instances = instancesOf(folder);
      if (about === undefined && instances.length === 0) continue; // being made or removed by another
      const { size } = await runTask('store.usage', { dir: folder });
      const used = Math.max(0, ...instances.map(lastUse));
      const createdAt = about?.createdAt ?? used;
      infos.push({
        id,
        owner: about?.owner,
        description: this.#kind.describe(about?.name ?? id),
        size,
        createdAt,
        lastUsedAt: Math.max(createdAt, used),
        inUse: instances.some(isHeld),
      });
    }
    return infos;
  }

  /** Removes a folder's instances that nobody has, and returns the bytes given back. */
  async remove(id: string): Promise<number> {
    return isId(id) ? this.#removeInstances(join(this.#dir, id), () => true) : 0;
  }

  /** The same of an owner's folders (or, without one, of everybody's) whose names match. */
  async removeNamed(owner: string | undefined, matches: (name: string) => boolean): Promise<number> {
    let bytes = 0;
    for (const id of this.#ids()) {
      const folder = join(this.#dir, id);
      const about = describe(folder);
      if (about !== undefined && about.owner === owner && matches(about.name))
        bytes += await this.#removeInstances(folder, () => true);
    }
    return bytes;
  }

  /** Removes what was not used for `keepFor` before `now` (ms since the epoch), and what a killed process began to. */
  async sweep(now: number): Promise<void> {
    if (!existsSync(this.#dir)) return;
    const trash = readdirSync(this.#dir).filter((name) => name.startsWith('trash-'));
    if (trash.length > 0)
      await runTask('store.remove', { paths: trash.map((name) => join(this.#dir, name)) });
    const { keepFor } = this.#kind;
    if (keepFor === undefined) return;
    for (const id of this.#ids()) {
      await this.#removeInstances(join(this.#dir, id), (instance) => now - lastUse(instance) > keepFor);
    }
  }

  #open(key: KeptKey): string {
    this.#sweepNowAndThen();
    const folder = join(this.#dir, idOf(key));
    for (;;) {
      if (mkdirSync(this.#dir, { recursive: true, mode: 0o700 }) !== undefined) markTop(this.#dir);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      try {
        describeNew(folder, key);
        return folder;
      } catch (err) {
        // It may be removed between the two.
        if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
      }
    }
  }

  #lock(instance: string, shared: boolean): HeldFolder | undefined {
    const fd = lockInstance(instance, shared);
    return fd === undefined ? undefined : new HeldFolder(instance, fd);
  }

  async #removeInstances(folder: string, doomed: (instance: string) => boolean): Promise<number> {
    let bytes = 0;
    for (const instance of instancesOf(folder)) {
      if (!doomed(instance)) continue;
      const fd = lockInstance(instance, false);
      if (fd === undefined) continue;
      try {
        const trash = join(this.#dir, `trash-${randomUUID()}`);
        renameSync(instance, trash);
        bytes += await runTask('store.remove', { paths: [trash], measure: true });
      } finally {
        closeSync(fd);
      }
    }
    if (instancesOf(folder).length === 0) {
      rmSync(aboutFile(folder), { force: true });
      try {
        rmdirSync(folder);
      } catch {
        // Somebody has just made a new instance.
      }
    }
    return bytes;
  }

  /** Beside what runs. */
  #sweepNowAndThen(): void {
    const now = Date.now();
    if (now - (swept.get(this.#dir) ?? 0) < sweepEvery) return;
    swept.set(this.#dir, now);
    void this.sweep(now).catch(() => {}); // the next one tries again
  }

  #ids(): string[] {
    return existsSync(this.#dir) ? readdirSync(this.#dir).filter(isId) : [];
  }
}

function idOf({ key, owner }: KeptKey): string {
  const text = owner === undefined ? key : JSON.stringify([owner, key]);
  return hex(digestOf(text)).slice(0, 32);
}

function isId(name: string): boolean {
  return /^[0-9a-f]{32}$/.test(name);
}

function aboutFile(folder: string): string {
  return join(folder, 'about.json');
}

function describeNew(folder: string, { key, owner, name = key }: KeptKey): void {
  const file = aboutFile(folder);
  if (existsSync(file)) return;
  const temp = `${file}.${randomUUID()}`;
  writeFileSync(temp, JSON.stringify({ name, owner, createdAt: Date.now() }), { mode: 0o600 });
  renameSync(temp, file);
}

function describe(folder: string): { name: string; owner?: string; createdAt: number } | undefined {
  try {
    const { name, owner, createdAt } = JSON.parse(readFileSync(aboutFile(folder), 'utf8'));
    const isOurs = typeof name === 'string' && typeof createdAt === 'number';
    return isOurs ? { name, owner: typeof owner === 'string' ? owner : undefined, createdAt } : undefined;
  } catch {
    return undefined;
  }
}
