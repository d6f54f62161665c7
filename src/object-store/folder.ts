/** Objects as files of a folder, which may be on a network's file system that many machines share. */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoCode, throwIfAborted } from '../errors/index.ts';
import { streamOrdinary } from '../linux/index.ts';
import { checkKey } from './keys.ts';
import { refused, troubled } from './trouble.ts';
import type {
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectCall,
  ObjectInfo,
  ObjectSource,
  ObjectStore,
  PutOptions,
} from './types.ts';

/** What the names of files begin with that are being written. */
const coming = '.drydock-coming-';

export class FolderStore implements ObjectStore {
  readonly name: string;
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
    this.name = dir;
  }

  close(): void {}

  async get(key: string, { start = 0, end, signal }: GetOptions = {}): Promise<ObjectBody> {
    const file = this.#file(key);
    throwIfAborted(signal);
    try {
      const { stream, size, mtimeMs } = await streamOrdinary(file, { start, end, signal });
      return { key, size, modified: mtimeMs, stream };
    } catch (err) {
      throw this.#trouble(`reading ${key}`, err);
    }
  }

  async head(key: string, { signal }: ObjectCall = {}): Promise<ObjectInfo | undefined> {
    const file = this.#file(key);
    throwIfAborted(signal);
    try {
      const { size, mtimeMs } = await stat(file);
      return { key, size, modified: mtimeMs };
    } catch (err) {
      if (isAbsent(err)) return undefined;
      throw this.#trouble(`looking for ${key}`, err);
    }
  }

  async put(
    key: string,
    source: ObjectSource | Uint8Array,
    { signal, onProgress }: PutOptions = {},
  ): Promise<void> {
    const file = this.#file(key);
    throwIfAborted(signal);
    const part = join(dirname(file), `${coming}${randomUUID()}`);
    try {
      await mkdir(dirname(file), { recursive: true });
      if (source instanceof Uint8Array) await writeFile(part, source, { mode: 0o644 });
      else {
        await pipeline(await source.open(0, source.size), createWriteStream(part, { mode: 0o644 }), {
          signal,
        });
        if ((await stat(part)).size !== source.size) {
          throw troubled('other', `writing ${key} of ${this.name}: its source has not ${source.size} bytes`);
        }
      }
      await rename(part, file);
      onProgress?.(source instanceof Uint8Array ? source.length : source.size);
    } catch (err) {
      await rm(part, { force: true });
      throwIfAborted(signal);
      throw this.#trouble(`writing ${key}`, err);
    }
  }

  async touch(key: string, { signal }: ObjectCall = {}): Promise<void> {
    const file = this.#file(key);
    throwIfAborted(signal);
    const now = new Date();
    await utimes(file, now, now).catch((err) => {
      throw this.#trouble(`touching ${key}`, err);
    });
  }

  async *list(
    prefix: string,
    { after, pageSize = 1000, signal }: ListOptions = {},
  ): AsyncGenerator<ObjectInfo[]> {
    let page: ObjectInfo[] = [];
    for await (const key of this.#keys('', prefix)) {
      throwIfAborted(signal);
      if (after !== undefined && Buffer.compare(Buffer.from(key), Buffer.from(after)) <= 0) continue;
      const info = await this.head(key);
      if (info === undefined) continue;
      page.push(info);
      if (page.length < pageSize) continue;
      yield page;
      page = [];
    }
    if (page.length > 0) yield page;
  }

  async delete(keys: readonly string[], { signal }: ObjectCall = {}): Promise<void> {
    for (const key of keys) {
      const file = this.#file(key);
      throwIfAborted(signal);
      await rm(file, { force: true }).catch((err) => {
        throw this.#trouble(`deleting ${key}`, err);
      });
    }
  }

  async abortLeftovers(prefix: string, olderThan: number, { signal }: ObjectCall = {}): Promise<number> {
    const before = Date.now() - olderThan;
    let count = 0;
    for await (const path of this.#keys('', prefix, true)) {
      throwIfAborted(signal);
      const file = join(this.#dir, path);
      const info = await stat(file).catch(() => undefined);
      if (info === undefined || info.mtimeMs > before) continue;
      await rm(file, { force: true });
      count++;
    }
    return count;
  }

  /** The keys that begin with `prefix`, in order; or the files that are being written beside them. */
  async *#keys(folder: string, prefix: string, ofComing = false): AsyncGenerator<string> {
    const entries = await readdir(join(this.#dir, folder), { withFileTypes: true }).catch((err) => {
      if (isAbsent(err)) return [];
      throw this.#trouble(`listing ${prefix}*`, err);
    });
    // A folder's keys go on with `/`: so they are in order among those of its neighbours.
    const named = entries.map((entry) => ({
      isFolder: entry.isDirectory(),
      name: entry.name,
      path: `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`,
    }));
    named.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
    for (const { isFolder, name, path } of named) {
      if (isFolder) {
        if (path.startsWith(prefix) || prefix.startsWith(path)) yield* this.#keys(path, prefix, ofComing);
      } else if (name.startsWith(coming) === ofComing && (ofComing || path.startsWith(prefix))) yield path;
    }
  }

  #file(key: string): string {
    checkKey(key, true);
    const file = join(this.#dir, key);
    if (basename(file).startsWith(coming)) throw troubled('other', `${JSON.stringify(key)} is no key here`);
    return file;
  }

  #trouble(doing: string, err: unknown): unknown {
    const code = errnoCode(err);
    if (isAbsent(err)) return refused(`${doing} of ${this.name}`, 404, { trouble: 'not-found' });
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      return troubled('forbidden', `${doing} of ${this.name}: ${code}`, { cause: err });
    }
    return err;
  }
}

function isAbsent(err: unknown): boolean {
  const code = errnoCode(err);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR';
}
