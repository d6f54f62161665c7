/**
 * Folders of one kind that are kept under the root for the next build (cache mounts, clients' folders, git mirrors …)
 * and are neither snapshots nor cache records. `<dir>/<id>/N` are the numbered instances of a folder; there are several
 * when builds needed it exclusively at the same time. A build that uses an instance holds its lock. A folder with an
 * owner is given to that owner only.
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
import {
  dataOf,
  HeldFolder,
  instancesOf,
  isFilled,
  isHeld,
  isUntidy,
  lastUse,
  lockInstance,
  lockOf,
  tidy,
} from './instance.ts';

/** A folder's key and its owner. Each owner has a folder of its own; one without an owner is everybody's. */
export interface KeptKey {
  key: string;
  owner?: string;
  /** The folder's name in lists; default: the key. */
  name?: string;
}

interface KeptFolderInfo {
  id: string;
  owner: string | undefined;
  name: string;
  description: string;
  /** Bytes on disk, without those of files that layers have, too. */
  size: number;
  /** ms since the epoch */
  createdAt: number;
  lastUsedAt: number;
  inUse: boolean;
}

/** A folder that holds something. */
export interface KeptFound {
  id: string;
  name: string;
  /** The path of its first instance, in which the facts beside the folder are. */
  instance: string;
  /** ms since the epoch */
  lastUsedAt: number;
}

interface KeptKind {
  /** The description of a folder of this kind in lists. */
  describe(name: string): string;
  /** Instances unused for this long (ms) are removed; without it they stay until a user removes them. */
  keepFor?: number;
}

/** How long to wait between tries for a folder that is in use, ms. */
const retryMs = 25;
const sweepEvery = 3600_000;
/** Folder of a kind → when this process swept it last, ms since the epoch. */
const swept = new Map<string, number>();

/** The kept folders of one kind. */
export class KeptFolders {
  readonly #dir: string;
  readonly #kind: KeptKind;

  constructor(dir: string, kind: KeptKind) {
    this.#dir = dir;
    this.#kind = kind;
  }

  /** Takes the first free instance, which is exclusive until it is released. */
  claim(key: KeptKey): HeldFolder {
    return this.claimOf(key, Number.POSITIVE_INFINITY) as HeldFolder;
  }

  /** Takes the first free one of so many instances; undefined when all are in use. */
  claimOf(key: KeptKey, most: number): HeldFolder | undefined {
    const folder = this.#open(key);
    for (let n = 0; n < most; n++) {
      const held = this.#lock(join(folder, String(n)), false);
      if (held !== undefined) return held;
    }
    return undefined;
  }

  /**
   * Takes the one instance that all share or, without `shared`, use one after the other. Waits while it is in use.
   * Throws `canceled` when the signal fires.
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

  /**
   * The path of the shared instance's data, if there is any; marks it as used. The data is not held and may vanish any
   * time.
   */
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

  /**
   * The folders of an owner (undefined: everybody's) whose names match, that hold anything in their first instance; the
   * one that was used last comes first. Nothing is held or marked as used.
   */
  find(owner: string | undefined, matches: (name: string) => boolean): KeptFound[] {
    return this.all()
      .filter((each) => each.owner === owner && matches(each.name))
      .sort((a, b) => b.lastUsedAt - a.lastUsedAt);
  }

  /** The folders of all owners that hold anything in their first instance, without their sizes. */
  all(): (KeptFound & { owner: string | undefined })[] {
    return this.#ids().flatMap((id) => {
      const about = describe(join(this.#dir, id));
      const instance = join(this.#dir, id, '0');
      if (about === undefined || !isFilled(instance)) return [];
      const { name, owner } = about;
      return [{ id, name, owner, instance, lastUsedAt: lastUse(instance) }];
    });
  }

  /** What `find` says of one folder; undefined when it holds nothing. */
  look(key: KeptKey): KeptFound | undefined {
    const id = idOf(key);
    const instance = join(this.#dir, id, '0');
    if (!isFilled(instance)) return undefined;
    return { id, name: key.name ?? key.key, instance, lastUsedAt: lastUse(instance) };
  }

  /** Lists all folders with their sizes on disk. */
  async list(): Promise<KeptFolderInfo[]> {
    const infos: KeptFolderInfo[] = [];
    for (const id of this.#ids()) {
      const folder = join(this.#dir, id);
      const about = describe(folder);
      const instances = instancesOf(folder);
      if (about === undefined && instances.length === 0) continue; // being made or removed by another
      const { size } = await runTask('store.usage', { dir: folder, alone: true });
      const used = Math.max(0, ...instances.map(lastUse));
      const createdAt = about?.createdAt ?? used;
      infos.push({
        id,
        owner: about?.owner,
        name: about?.name ?? id,
        description: this.#kind.describe(about?.name ?? id),
        size,
        createdAt,
        lastUsedAt: Math.max(createdAt, used),
        inUse: instances.some(isHeld),
      });
    }
    return infos;
  }

  /** Removes the instances of a folder that are not in use, and returns the bytes freed. */
  async remove(id: string): Promise<number> {
    return isId(id) ? this.#removeInstances(join(this.#dir, id), () => true) : 0;
  }

  /** Removes the folders of an owner (undefined: everybody's) whose names match, and returns the bytes freed. */
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

  /**
   * Removes instances that were not used in the `keepFor` before `now` (ms since the epoch), and those that a killed
   * process was removing.
   */
  async sweep(now: number): Promise<void> {
    if (!existsSync(this.#dir)) return;
    const trash = readdirSync(this.#dir).filter((name) => name.startsWith('trash-'));
    if (trash.length > 0)
      await runTask('store.remove', { paths: trash.map((name) => join(this.#dir, name)) });
    for (const id of this.#ids()) {
      for (const instance of instancesOf(join(this.#dir, id)).filter(isUntidy)) {
        const fd = lockInstance(instance, false);
        if (fd === undefined) continue;
        await tidy(instance).finally(() => closeSync(fd));
      }
    }
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
        // The folder may be removed between the two calls.
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
        // Another process has just made a new instance.
      }
    }
    return bytes;
  }

  /** Sweeps now and then, in the background. */
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
