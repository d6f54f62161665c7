/**
 * A streaming tar reader for v7, ustar, PAX and GNU archives, including sparse files. It is synchronous and keeps no
 * more than one header in memory. Formats: POSIX pax (see pax.ts),
 * https://www.gnu.org/software/tar/manual/html_node/Standard.html
 */
import { type ErrorCode, fail, type Hop } from '../errors/index.ts';
import { BLOCK, checksumHolds, headerPath, isZero, text } from './header-block.ts';
import { nameFault, xattrFault } from './limits.ts';
import { decimal, headerNumber, paxTimeNs } from './numbers.ts';
import { emptyRecords, type PaxRecords, readPax } from './pax.ts';
import { checkRegions, oldGnuRegions, type Region, SparseMapReader, sparse00, sparse01 } from './sparse.ts';
import type { TarEntry, TarHandler } from './types.ts';

export interface TarLimits {
  /** The hop of its errors; default `context`. */
  hop?: Hop;
  /** The largest PAX header, GNU long name or sparse map, in bytes; default 1 MiB. */
  maxMetaBytes?: number;
  /** The largest size that an entry may claim, in bytes; default 64 TiB. */
  maxEntrySize?: number;
}

/** Cleans a path for `TarEntry.path`: without empty and `.` parts. `..` stays. */
export function cleanTarPath(path: string): string {
  if (!/(?:^|\/)\.?(?:\/|$)/.test(path)) return path;
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

const types: Record<string, TarEntry['type']> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  D: 'dir',
  '6': 'fifo',
};

/**
 * Parses an archive. Push its (uncompressed) bytes in any portions, then call `finish`. Both throw a DrydockError:
 * `corrupt` for an unsound archive, `invalid` for names that Linux does not allow, `unsupported` for entries that
 * nobody can unpack (multi-volume parts, unknown types).
 *
 *     const parser = new TarParser(handler);
 *     for await (const chunk of stream) parser.push(chunk);
 *     parser.finish();
 */
export class TarParser {
  #handler: TarHandler;
  #hop: Hop;
  #maxMeta: number;
  #maxSize: number;
  #state: 'header' | 'meta' | 'gnu-sparse' | 'pax-sparse' | 'data' | 'end' = 'header';
  #block = Buffer.alloc(BLOCK);
  #have = 0;
  #zeroBlocks = 0;
  /** The bytes of content still to come, and of the padding after it. */
  #left = 0;
  #pad = 0;
  #metaType = '';
  #meta: Buffer[] = [];
  #global = emptyRecords();
  #local: PaxRecords | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;
  /** The entry whose sparse map is being read. */
  #entry: TarEntry | undefined;
  #regions: Region[] = [];
  #mapReader: SparseMapReader | undefined;
  #skip = false;
  #at = 0;

  constructor(handler: TarHandler, limits: TarLimits = {}) {
    this.#handler = handler;
    this.#hop = limits.hop ?? 'context';
    this.#maxMeta = limits.maxMetaBytes ?? 1 << 20;
    this.#maxSize = limits.maxEntrySize ?? 2 ** 46;
  }

  /** The number of bytes read so far. */
  get position(): number {
    return this.#at;
  }

  /** Whether the archive's closing zero blocks have come. */
  get ended(): boolean {
    return this.#state === 'end';
  }

  push(bytes: Uint8Array): void {
    const chunk = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    const start = this.#at;
    while (at < chunk.length) {
      this.#at = start + at;
      if (this.#state === 'end') break;
      if (this.#state === 'data' || this.#state === 'meta') {
        if (this.#left > 0) {
          const n = Math.min(this.#left, chunk.length - at);
          const part = chunk.subarray(at, at + n);
          at += n;
          this.#left -= n;
          if (this.#state === 'meta') this.#meta.push(Buffer.from(part));
          else if (!this.#skip) this.#handler.data(part);
        } else {
          const n = Math.min(this.#pad, chunk.length - at);
          at += n;
          this.#pad -= n;
        }
        this.#settle();
        continue;
      }
      if (this.#have === 0 && chunk.length - at >= BLOCK) {
        this.#take(chunk.subarray(at, at + BLOCK));
        at += BLOCK;
        continue;
      }
      const n = Math.min(BLOCK - this.#have, chunk.length - at);
      chunk.copy(this.#block, this.#have, at, at + n);
      at += n;
      this.#have += n;
      if (this.#have === BLOCK) {
        this.#have = 0;
        this.#take(this.#block);
      }
    }
    this.#at = start + chunk.length;
  }

  /** Ends the archive. Throws `corrupt` when it breaks off inside an entry. */
  finish(): void {
    if (this.#state === 'end') return;
    // An archive may lack its closing zero blocks and the padding of its last entry.
    if (this.#state === 'data' && this.#left === 0) {
      this.#pad = 0;
      this.#settle();
    }
    const pending = this.#local ?? this.#longName ?? this.#longLink;
    if (this.#state !== 'header' || this.#have > 0 || pending !== undefined) {
      throw this.#error('the archive ends in the middle of an entry');
    }
    this.#state = 'end';
  }

  #error(what: string, code: ErrorCode = 'corrupt'): Error {
    return fail(code, this.#hop, `reading the tar archive: ${what} (at byte ${this.#at})`, {
      hint: code === 'corrupt' ? 'The archive may be cut short or damaged; make it again.' : undefined,
    });
  }

  /** Leaves a state whose bytes have all come. */
  #settle(): void {
    if (this.#left > 0) return;
    if (this.#state === 'data' && this.#entry !== undefined) {
      this.#entry = undefined;
      if (!this.#skip) this.#handler.end();
    }
    if (this.#pad > 0) return;
    if (this.#state === 'meta') this.#takeMeta();
    this.#state = 'header';
  }

  #expect(state: 'meta' | 'data', size: number): void {
    this.#state = state;
    this.#left = size;
    this.#pad = (BLOCK - (size % BLOCK)) % BLOCK;
    this.#settle();
  }

  #take(block: Buffer): void {
    if (this.#state === 'gnu-sparse') {
      this.#takeGnuSparse(block);
      return;
    }
    if (this.#state === 'pax-sparse') {
      this.#takePaxSparse(block);
      return;
    }
    if (isZero(block)) {
      if (++this.#zeroBlocks < 2) return;
      if (this.#local ?? this.#longName ?? this.#longLink) {
        throw this.#error('the archive ends after an extended header');
      }
      this.#state = 'end';
      return;
    }
    if (this.#zeroBlocks > 0) throw this.#error('a lone zero block stands between two entries');
    this.#takeHeader(block);
  }

  #number(block: Buffer, at: number, length: number, field: string, negative = false): number {
    const value = headerNumber(block, at, length);
    if (value === undefined || (value < 0 && !negative)) {
      throw this.#error(`the header's ${field} is not a sound number`);
    }
    return value;
  }

  #takeHeader(block: Buffer): void {
    if (!checksumHolds(block)) throw this.#error('a header has a wrong checksum');
    const flag = String.fromCharCode(block[156] ?? 0);
    let size = this.#number(block, 124, 12, 'size');
    if ('xgXLK'.includes(flag)) {
      if (size > this.#maxMeta) {
        throw this.#error(`an extended header claims ${size} bytes; the limit is ${this.#maxMeta}`);
      }
      this.#metaType = flag;
      this.#meta = [];
      this.#expect('meta', size);
      return;
    }
    const records = this.#records();
    this.#local = undefined;
    const value = (key: string) => records?.values.get(key);
    const count = (key: string): number | undefined => {
      const text = value(key);
      if (text === undefined) return undefined;
      const n = decimal(text);
      if (n === undefined) throw this.#error(`the PAX record ${key} is not a sound number`);
      return n;
    };
    size = count('size') ?? size;
    if (size > this.#maxSize) throw this.#error(`an entry claims ${size} bytes`);
    if (flag === 'V' || flag === 'N') {
      this.#entry = undefined;
      this.#longName = this.#longLink = undefined;
      this.#skip = true;
      this.#expect('data', size);
      return;
    }
    let type = types[flag];
    if (type === undefined) {
      throw this.#error(`an entry is of the unknown type ${JSON.stringify(flag)}`, 'unsupported');
    }
    const gnu = block.toString('latin1', 257, 265) === 'ustar  \0';
    const ustar = !gnu && block.toString('latin1', 257, 262) === 'ustar';
    const rawPath = value('GNU.sparse.name') ?? value('path') ?? this.#longName ?? headerPath(block, ustar);
    const rawLink = value('linkpath') ?? this.#longLink ?? text(block, 157, 100);
    this.#longName = this.#longLink = undefined;
    if (type === 'file' && rawPath.endsWith('/')) type = 'dir';
    const entry: TarEntry = {
      path: cleanTarPath(rawPath),
      type,
      mode: this.#number(block, 100, 8, 'mode') & 0o7777,
      uid: count('uid') ?? this.#number(block, 108, 8, 'uid'),
      gid: count('gid') ?? this.#number(block, 116, 8, 'gid'),
      uname: value('uname') ?? (gnu || ustar ? text(block, 265, 32) : ''),
      gname: value('gname') ?? (gnu || ustar ? text(block, 297, 32) : ''),
      size: type === 'file' ? size : 0,
      mtimeNs: this.#mtime(block, value('mtime')),
      devmajor: 0,
      devminor: 0,
      xattrs: records?.xattrs ?? new Map(),
    };
    if (rawPath !== entry.path) entry.rawPath = rawPath;
    this.#checkName(entry.path);
    this.#checkXattrs(entry);
    if (entry.path === '' && type !== 'dir') throw this.#error('an entry has no name');
    if (entry.uid > 0xffffffff || entry.gid > 0xffffffff) {
      throw this.#error(`${entry.path} has an owner beyond 32 bits`);
    }
    if (type === 'symlink' || type === 'hardlink') this.#checkName(rawLink);
    if (type === 'symlink') entry.link = rawLink;
    if (type === 'hardlink') {
      entry.link = cleanTarPath(rawLink);
      if (rawLink !== entry.link) entry.rawLink = rawLink;
    }
    if (entry.link === '' && (type === 'symlink' || type === 'hardlink')) {
      throw this.#error(`the link ${entry.path} has no target`);
    }
    if ((type === 'char' || type === 'block') && (gnu || ustar)) {
      entry.devmajor = this.#number(block, 329, 8, 'device number');
      entry.devminor = this.#number(block, 337, 8, 'device number');
    }
    if (type === 'dir' && flag === 'D') {
      // The content of a GNU dump folder is a list of names, which are not needed.
      this.#handler.entry(entry);
      this.#handler.end();
      this.#skip = true;
      this.#expect('data', size);
      return;
    }
    if (type === 'file') {
      if (flag === 'S') {
        this.#startGnuSparse(block, entry);
        return;
      }
      if (records !== undefined && this.#startPaxSparse(records, entry)) return;
    }
    this.#start(entry, entry.size);
  }

  #checkName(path: string): void {
    const fault = nameFault(path);
    if (fault === undefined) return;
    throw fail('invalid', this.#hop, `reading the tar archive: ${fault} (at byte ${this.#at})`, {
      hint: 'Make the archive again without it, or with shorter names.',
    });
  }

  #checkXattrs({ path, xattrs }: TarEntry): void {
    const fault = xattrFault(xattrs);
    if (fault === undefined) return;
    throw fail('invalid', this.#hop, `reading the tar archive: ${path}: ${fault} (at byte ${this.#at})`, {
      hint: 'Make the archive again without this attribute.',
    });
  }

  #records(): PaxRecords | undefined {
    if (this.#global.values.size === 0 && this.#global.xattrs.size === 0) return this.#local;
    return {
      values: new Map([...this.#global.values, ...(this.#local?.values ?? [])]),
      xattrs: new Map([...this.#global.xattrs, ...(this.#local?.xattrs ?? [])]),
      sparse00: this.#local?.sparse00 ?? [],
    };
  }

  #mtime(block: Buffer, record: string | undefined): bigint {
    if (record === undefined) return BigInt(this.#number(block, 136, 12, 'mtime', true)) * 1_000_000_000n;
    const ns = paxTimeNs(record);
    if (ns === undefined) throw this.#error('the PAX record mtime is not a sound time');
    return ns;
  }

  #start(entry: TarEntry, stored: number): void {
    this.#skip = false;
    this.#entry = entry;
    this.#handler.entry(entry);
    this.#expect('data', stored);
  }

  #takeMeta(): void {
    const body = this.#meta.length === 1 ? this.#meta[0]! : Buffer.concat(this.#meta);
    this.#meta = [];
    if (this.#metaType === 'L') this.#longName = text(body, 0, body.length);
    else if (this.#metaType === 'K') this.#longLink = text(body, 0, body.length);
    else {
      const global = this.#metaType === 'g';
      const records = global ? this.#global : (this.#local ?? emptyRecords());
      if (!readPax(body, records)) throw this.#error('a PAX header is malformed');
      if (!global) this.#local = records;
      else if (this.#global.values.size + this.#global.xattrs.size > 10_000) {
        throw this.#error('the PAX global headers hold too many records');
      }
    }
  }

  #startGnuSparse(block: Buffer, entry: TarEntry): void {
    this.#entry = entry;
    this.#left = entry.size;
    entry.size = this.#number(block, 483, 12, 'real size');
    this.#regions = [];
    this.#takeRegions(block, 386, 4);
    if (block[482]) this.#state = 'gnu-sparse';
    else this.#startSparse(entry, this.#regions, this.#left);
  }

  #takeGnuSparse(block: Buffer): void {
    this.#takeRegions(block, 0, 21);
    if (this.#regions.length > this.#maxMeta / 24) throw this.#error('a sparse map is too long');
    if (!block[504] && this.#entry !== undefined) this.#startSparse(this.#entry, this.#regions, this.#left);
  }

  #takeRegions(block: Buffer, at: number, count: number): void {
    const regions = oldGnuRegions(block, at, count);
    if (regions === undefined) throw this.#error('a sparse map is malformed');
    this.#regions.push(...regions);
  }

  /** Prepares reading a sparse file; false when the records do not describe one. */
  #startPaxSparse(records: PaxRecords, entry: TarEntry): boolean {
    const value = (key: string) => records.values.get(`GNU.sparse.${key}`);
    const stored = entry.size;
    const major = value('major');
    const real = value('realsize') ?? value('size');
    let regions: Region[] | undefined;
    if (major === undefined && records.sparse00.length === 0 && value('map') === undefined) {
      // In formats 0.0 and 0.1, a file that is one hole has no map at all.
      if (value('numblocks') !== '0') return false;
      regions = [];
    }
    const size = real === undefined ? undefined : decimal(real);
    if (size === undefined) throw this.#error(`the sparse file ${entry.path} has no sound size`);
    entry.size = size;
    if (major !== undefined && major !== '0') {
      if (major !== '1' || (value('minor') ?? '0') !== '0') {
        throw this.#error(`sparse format ${major}.${value('minor') ?? ''} is unknown`, 'unsupported');
      }
      if (stored < BLOCK) throw this.#error(`the sparse file ${entry.path} has no map`);
      this.#entry = entry;
      this.#left = stored;
      this.#mapReader = new SparseMapReader();
      this.#state = 'pax-sparse';
      return true;
    }
    regions ??= value('map') !== undefined ? sparse01(value('map')!) : sparse00(records.sparse00);
    if (regions === undefined) throw this.#error(`the sparse map of ${entry.path} is malformed`);
    this.#startSparse(entry, regions, stored);
    return true;
  }

  #takePaxSparse(block: Buffer): void {
    this.#left -= BLOCK;
    const reader = this.#mapReader!;
    if (!reader.push(block) || reader.bytes > this.#maxMeta) throw this.#error('a sparse map is malformed');
    if (reader.done) this.#startSparse(this.#entry!, reader.regions, Math.max(0, this.#left));
    else if (this.#left < BLOCK) throw this.#error('a sparse map is cut short');
  }

  #startSparse(entry: TarEntry, regions: Region[], stored: number): void {
    if (entry.size > this.#maxSize) throw this.#error(`${entry.path} claims ${entry.size} bytes`);
    const sparse = checkRegions(regions, entry.size, stored);
    if (sparse === undefined) throw this.#error(`the sparse map of ${entry.path} does not fit its size`);
    entry.sparse = sparse;
    this.#start(entry, stored);
  }
}
