/**
 * The worker task `fs.checksum`: one digest of selected parts of a view. It covers names, types, permissions, owners,
 * link targets, device numbers, extended attributes and bytes. It covers neither times nor places, so the same tree has
 * the same digest in a client's folder, in layers and unpacked from a tar.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { fstatSync, readSync } from 'node:fs';
import { canceled, DrydockError, errnoCode, fail, toDrydockError } from '../errors/index.ts';
import { closeFd, rawName } from '../linux/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import { takeLook } from './glance.ts';
import { blockSize, hashBlocks } from './hash-blocks.ts';
import { openKept } from './kept-view.ts';
import { lazyDigest } from './lazy-folder.ts';
import { keepList } from './list-db.ts';
import { ListWriter } from './listing.ts';
import type { Look } from './look.ts';
import { stopper } from './make.ts';
import { openView } from './open.ts';
import { openEntry } from './real.ts';
import { requirePaths, resolveSources, walkSelected } from './select.ts';
import { readContents, type SentContents } from './sent-contents.ts';
import { lstatHost } from './stat.ts';
import { isSettled, StatMemory, stampOf } from './stat-db.ts';
import { treeKey } from './tree-key.ts';
import type { ContentSelector, FsEntry, FsView, ViewSpec } from './view.ts';

interface ChecksumArgs {
  spec: ViewSpec;
  /** The selections; all of them make one digest, in order. */
  selectors: ContentSelector[];
  /** The SQLite file that remembers digests of files of `folder` specs with a `cacheKey`. */
  statDb: string;
  /** SQLite file that keeps the lists of files by digest; undefined: none is kept. */
  listDb?: string;
}

interface ChecksumResult {
  digest: Digest;
  /** The bytes of the files covered. */
  bytes: number;
}

/** Computes the digest. Throws `not-found` for a selected path that is missing, `canceled` when the caller gave up. */
export function checksum(args: ChecksumArgs, ctx: { aborted(): boolean }): ChecksumResult {
  const { spec } = args;
  try {
    if (spec.kind !== 'folder' || spec.cacheKey === undefined) {
      const { digest, bytes } = digestTree(args, ctx);
      return { digest, bytes };
    }
    const { cacheKey, dir, stamp } = spec;
    const sent = stamp === undefined ? undefined : readContents(dir, stamp);
    const memory = new LazyMemory(args.statDb, cacheKey);
    try {
      if (sent === undefined) return digestFolder(spec, args, memory.open(), ctx);
      const { digest, bytes } = digestTree({ ...args, sent }, ctx, memory);
      return { digest, bytes };
    } finally {
      memory.close();
    }
  } catch (err) {
    throw describe(err, spec);
  }
}

/** The memory of files' digests, opened when a file is read after all. */
class LazyMemory {
  readonly #file: string;
  readonly #key: string;
  #memory: StatMemory | undefined;

  constructor(file: string, key: string) {
    this.#file = file;
    this.#key = key;
  }

  open(): StatMemory {
    this.#memory ??= new StatMemory(this.#file, this.#key);
    return this.#memory;
  }

  get(entry: FsEntry): string | undefined {
    return this.open().get(entry);
  }

  put(entry: FsEntry, contents: string): void {
    this.open().put(entry, contents);
  }

  close(): void {
    this.#memory?.close();
  }
}

type Memory = Pick<StatMemory, 'get' | 'put'>;

function digestFolder(
  spec: Extract<ViewSpec, { kind: 'folder' }>,
  args: ChecksumArgs,
  memory: StatMemory,
  ctx: { aborted(): boolean },
): ChecksumResult {
  const look = takeLook(spec.dir);
  const state = treeKey(look, spec, args.selectors, () => {
    if (ctx.aborted()) throw canceled();
  });
  const known = state === undefined ? undefined : memory.tree(state);
  if (known !== undefined) return known;
  const { digest, bytes, steady } = digestTree(args, ctx, memory, look);
  if (steady && state !== undefined) memory.putTree(state, digest, bytes);
  return { digest, bytes };
}

function digestTree(
  { spec, selectors, sent, listDb }: ChecksumArgs & { sent?: SentContents },
  ctx: { aborted(): boolean },
  memory?: Memory,
  look?: Look,
): ChecksumResult & { steady: boolean } {
  const giveWay = stopper(ctx);
  const view = look === undefined ? openKept(spec, giveWay) : openView(spec, look, giveWay);
  const list = listDb === undefined ? undefined : new ListWriter();
  const digester = new TreeDigester(view, memory, sent, ctx, list);
  for (const selector of selectors) digester.select(spec, selector);
  const digest = digester.digest();
  // What has got here was not known by its state: it is new, or looked at for the first time.
  if (listDb !== undefined) keepList(listDb, digest, () => list?.finish());
  return { digest, bytes: digester.bytes, steady: digester.steady };
}

/** Translates a system error on the way into one for users. */
function describe(err: unknown, spec: ViewSpec): unknown {
  const code = errnoCode(err);
  if (code === undefined || err instanceof DrydockError) return err;
  const hop = spec.kind === 'folder' ? 'context' : 'store';
  const message = err instanceof Error ? err.message : String(err);
  if (code === 'EACCES' || code === 'EPERM') {
    const hint = 'Exclude the file with .dockerignore, or change its permissions.';
    return fail('denied', hop, message, { hint, cause: err });
  }
  if (code !== 'ENOENT') return toDrydockError(err, hop);
  return fail('conflict', hop, `a file went away while it was read: ${message}`, {
    hint: 'Build again once nothing changes the files.',
    cause: err,
  });
}

const bufferSize = blockSize;

class TreeDigester {
  bytes = 0;
  /** Whether every digested file is surely as its stat said. */
  steady = true;
  readonly #view: FsView;
  readonly #memory: Memory | undefined;
  readonly #sent: SentContents | undefined;
  readonly #ctx: { aborted(): boolean };
  readonly #list: ListWriter | undefined;
  #block: Buffer | undefined;
  #records: string[] = [];
  readonly #hash: Hash = createHash('sha256');
  #count = 0;
  /** Number of the selection that is being digested. */
  #selection = -1;

  constructor(
    view: FsView,
    memory: Memory | undefined,
    sent: SentContents | undefined,
    ctx: { aborted(): boolean },
    list: ListWriter | undefined,
  ) {
    this.#view = view;
    this.#memory = memory;
    this.#sent = sent;
    this.#ctx = ctx;
    this.#list = list;
  }

  digest(): Digest {
    this.#flush();
    return `sha256:${this.#hash.digest('hex')}`;
  }

  select(spec: ViewSpec, selector: ContentSelector): void {
    const { path, wildcard = false, followLinks = false, excludes, required } = selector;
    requirePaths(this.#view, spec, required);
    const giveWay = stopper(this.#ctx);
    this.#selection++;
    this.#records.push('\0selection\0\n');
    for (const source of resolveSources(this.#view, spec, path, {
      wildcard,
      followLinks,
      excludes,
      giveWay,
    })) {
      if (source.excluded) {
        this.#records.push(`${source.match}\0excluded\0${source.entry.type}\n`);
        continue;
      }
      const at = (rel: string) =>
        rel === '' || source.match === '' ? source.match + rel : `${source.match}/${rel}`;
      walkSelected(this.#view, source.entry, selector, {
        enter: (entry, rel) => this.#record(entry, at(rel)),
        file: (entry, rel) => this.#record(entry, at(rel)),
        leave: () => undefined,
        giveWay,
      });
    }
  }

  #record(entry: FsEntry, name: string): void {
    if ((++this.#count & 255) === 0) {
      if (this.#ctx.aborted()) throw canceled();
      this.#flush();
    }
    // Sockets are never copied. The attributes of the root itself depend on who made it.
    if (entry.type === 'socket') return;
    if (entry.path === '/') {
      this.#records.push(`${name}\0root\n`);
      return;
    }
    const mode = entry.type === 'symlink' ? 0o777 : entry.mode;
    let contents = '';
    if (entry.type === 'file') contents = this.#fileContents(entry);
    else {
      if (entry.link !== undefined) contents = entry.link;
      else if (entry.rdev !== undefined) contents = String(entry.rdev);
      contents += this.#xattrs(entry);
      if (this.#memory && lstatHost(entry.hostPath)?.ctimeNs !== entry.ctimeNs) this.steady = false;
    }
    const { type, uid, gid } = entry;
    this.#records.push(`${name}\0${type}\0${mode.toString(8)}\0${uid}\0${gid}\0${contents}\0\n`);
    this.#list?.add(`${this.#selection}:${name}`, entry, mode, contents);
  }

  #xattrs(entry: FsEntry): string {
    let text = '';
    for (const [key, value] of this.#view.xattrs(entry)) text += `\0${key}=${value.toString('hex')}`;
    return text;
  }

  #flush(): void {
    this.#hash.update(rawName(this.#records.join('')));
    this.#records = [];
  }

  /** The digest of a file's bytes and extended attributes; both change only together with its ctime. */
  #fileContents(entry: FsEntry): string {
    this.bytes += entry.size;
    const known = this.#sent?.get(entry.path) ?? this.#memory?.get(entry);
    if (known !== undefined) return known;
    const started = Date.now();
    const xattrs = this.#xattrs(entry);
    if (entry.size === 0) {
      const contents = emptyDigest + xattrs;
      if (isSettled(entry.ctimeNs, started)) this.#memory?.put(entry, contents);
      else this.steady = false;
      return contents;
    }
    // Reading a lazy file would fetch it.
    const told = lazyDigest(entry);
    if (told !== undefined) return told + xattrs;
    const fd = openEntry(entry);
    try {
      const contents = this.#hashBytes(fd, entry.size) + xattrs;
      if (this.#memory !== undefined && isSettled(entry.ctimeNs, started)) {
        const st = fstatSync(fd, { bigint: true });
        const now = { ...st, size: Number(st.size), mode: Number(st.mode) & 0o7777 };
        if (stampOf(now) === stampOf(entry)) this.#memory.put(entry, contents);
        else this.steady = false;
      } else this.steady = false;
      return contents;
    } finally {
      closeFd(fd);
    }
  }

  /** Hashes a small file's bytes at once, and a large file's block by block, without blocks of zeros. */
  #hashBytes(fd: number, size: number): string {
    this.#block ??= Buffer.allocUnsafe(bufferSize);
    const buffer = this.#block;
    const n = readSync(fd, buffer, 0, bufferSize, null);
    if (n < bufferSize) {
      const more = readSync(fd, buffer, n, bufferSize - n, null);
      if (more === 0) return hash('sha256', buffer.subarray(0, n), 'hex');
    }
    return hashBlocks(fd, size, buffer, () => {
      if (this.#ctx.aborted()) throw canceled();
    });
  }
}

const emptyDigest = digestOf('').slice('sha256:'.length);
