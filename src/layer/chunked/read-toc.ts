/** Reads the table of contents of a chunked layer: the entries of its archive, and where their contents are. */
import zlib from 'node:zlib';
import { type DrydockError, fail } from '../../errors/index.ts';
import type { LazyChunk } from '../../lazy/index.ts';
import { digestOf, hex } from '../../oci/index.ts';
import { cleanTarPath, nameFault, type TarEntry, TarParser, xattrFault } from '../../tar/index.ts';
import { tocName } from './estargz.ts';
import type { PackedToc } from './toc-place.ts';

/** An entry of the layer's archive. */
interface TocEntry {
  entry: TarEntry;
  /** The chunks of a file that is not empty, in order. */
  chunks: LazyChunk[];
}

/** The largest table, in bytes. */
const mostBytes = 256 << 20;
/** The most bytes of a chunk, packed or not: it is held in memory. Writers make chunks of at most 4 MiB. */
const mostOfChunk = 64 << 20;
/** The most chunks of a layer: those of 64 GiB where they have 64 KiB each. */
const mostChunks = 1 << 20;
/** Runs of zeros become chunks of this size, so that reading one byte of a run takes no longer than its table says. */
const zeroChunk = 4 << 20;
/** The most bytes that are hashed to know the digests of zeros: a table may name a million runs of as many lengths. */
const mostZeros = 1 << 30;

/**
 * The entries of a table, in the archive's order. Throws `corrupt` when it has another digest than the manifest names,
 * `unsupported` when it does not tell all that is needed (the layer must be unpacked as a whole then).
 */
export function readToc(toc: PackedToc): TocEntry[] {
  const json = toc.compression === 'estargz' ? estargzJson(toc) : zstdJson(toc);
  let entries: unknown;
  try {
    entries = (JSON.parse(json.toString('utf8')) as { entries?: unknown }).entries;
  } catch {
    throw useless('its table of contents is no JSON');
  }
  if (!Array.isArray(entries)) throw useless('its table of contents has no entries');
  return entriesOf(entries as Raw[], toc.at);
}

function estargzJson({ bytes, digest }: PackedToc): Buffer {
  const parts: Buffer[] = [];
  let isToc = false;
  try {
    const plain = zlib.gunzipSync(bytes, { maxOutputLength: mostBytes });
    const parser = new TarParser({
      entry: ({ path }) => {
        isToc = path === tocName;
      },
      data: (chunk) => void (isToc && parts.push(Buffer.from(chunk))),
      end: () => {},
    });
    parser.push(plain);
    parser.finish();
  } catch (cause) {
    throw damaged(cause);
  }
  const json = Buffer.concat(parts);
  if (digestOf(json) !== digest) throw damaged();
  return json;
}

function zstdJson({ bytes, digest }: PackedToc): Buffer {
  if (digestOf(bytes) !== digest) throw damaged();
  try {
    return zlib.zstdDecompressSync(bytes, { maxOutputLength: mostBytes });
  } catch (cause) {
    throw damaged(cause);
  }
}

/** The entry as the table has it. Both formats have the names of CRFS. */
type Raw = Partial<
  Record<'name' | 'type' | 'linkName' | 'modtime' | 'digest' | 'chunkDigest' | 'chunkType', string> &
    Record<'size' | 'mode' | 'uid' | 'gid' | 'devMajor' | 'devMinor', number> &
    Record<'offset' | 'endOffset' | 'innerOffset' | 'chunkOffset' | 'chunkSize', number> & {
      xattrs: Record<string, string>;
    }
>;

const types = new Map<unknown, TarEntry['type']>([
  ['reg', 'file'],
  ['dir', 'dir'],
  ['symlink', 'symlink'],
  ['hardlink', 'hardlink'],
  ['char', 'char'],
  ['block', 'block'],
  ['fifo', 'fifo'],
]);

function entriesOf(raws: readonly Raw[], tocAt: number): TocEntry[] {
  if (raws.some((raw) => typeof raw !== 'object' || raw === null)) throw useless('an entry in it is none');
  const ends = boundaries(raws, tocAt);
  const found: TocEntry[] = [];
  const zeros = new ZeroDigests();
  let chunkCount = 0;
  let file: TocEntry | undefined;
  for (const raw of raws) {
    if (raw.type !== 'chunk') {
      file = { entry: entryOf(raw), chunks: [] };
      found.push(file);
    }
    if (file === undefined || file.entry.type !== 'file' || file.entry.size === 0) continue;
    const chunks = chunksOf(raw, file, ends, zeros);
    chunkCount += chunks.length;
    if (chunkCount > mostChunks) throw useless('it has too many chunks');
    for (const chunk of chunks) file.chunks.push(chunk);
  }
  for (const { entry, chunks } of found) {
    let size = 0;
    for (const chunk of chunks) {
      if (chunk.offset !== size) throw useless(`the chunks of ${entry.path} have gaps`);
      size += chunk.size;
    }
    if (entry.type === 'file' && size !== entry.size) throw useless(`chunks of ${entry.path} are missing`);
  }
  return found;
}

/** The places where parts of the blob begin or end, in order. */
function boundaries(raws: readonly Raw[], tocAt: number): Float64Array {
  const places = new Set([tocAt]);
  for (const { type, offset = 0, endOffset = 0 } of raws) {
    if (type !== 'reg' && type !== 'chunk') continue;
    for (const place of [offset, endOffset]) if (place > 0 && place < tocAt) places.add(place);
  }
  return Float64Array.from(places).sort();
}

/** The chunk that an entry tells of; several for a long run of zeros. */
function chunksOf(raw: Raw, { entry }: TocEntry, ends: Float64Array, zeros: ZeroDigests): LazyChunk[] {
  const offset = count(raw.chunkOffset);
  const size = count(raw.chunkSize) || entry.size - offset;
  const isWhole = size === entry.size;
  const digest = raw.chunkDigest || (isWhole ? raw.digest : undefined);
  const at = count(raw.offset);
  const inner = count(raw.innerOffset);
  if (size <= 0 || offset + size > entry.size) throw useless(`${entry.path} has an odd chunk`);
  if (raw.chunkType === 'zeros') return zeroChunks(entry, offset, size, zeros);
  if (inner + size > mostOfChunk) throw useless(`${entry.path} has a chunk that is too large`);
  const [, sha256] = /^sha256:([0-9a-f]{64})$/.exec(digest ?? '') ?? [];
  const end = after(ends, at);
  if (sha256 === undefined || end === undefined)
    throw useless(`a chunk of ${entry.path} has no digest or place`);
  if (end - at > mostOfChunk) throw useless(`${entry.path} has a chunk that is too large`);
  return [{ offset, size, inner, at, end, sha256: Buffer.from(sha256, 'hex') }];
}

/** The chunks of a run of zeros, which are nowhere in the blob. */
function zeroChunks({ path }: TarEntry, offset: number, size: number, zeros: ZeroDigests): LazyChunk[] {
  const count = Math.ceil(size / zeroChunk);
  if (count > mostChunks) throw useless(`${path} is too large`);
  return Array.from({ length: count }, (_, i) => {
    const from = i * zeroChunk;
    const length = Math.min(zeroChunk, size - from);
    const sha256 = zeros.of(length);
    return { offset: offset + from, size: length, inner: 0, at: 0, end: 0, sha256 };
  });
}

/** The digests of zeros in one table, each made once. */
class ZeroDigests {
  readonly #known = new Map<number, Buffer>();
  #left = mostZeros;

  of(size: number): Buffer {
    const known = this.#known.get(size);
    if (known !== undefined) return known;
    this.#left -= size;
    if (this.#left < 0) throw useless('its runs of zeros have too many lengths');
    const made = Buffer.from(hex(digestOf(Buffer.alloc(size))), 'hex');
    this.#known.set(size, made);
    return made;
  }
}

/** The first boundary after a place. */
function after(places: Float64Array, at: number): number | undefined {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((places[middle] as number) <= at) low = middle + 1;
    else high = middle;
  }
  return places[low];
}

function entryOf(raw: Raw): TarEntry {
  const type = types.get(raw.type);
  const name = text(raw.name);
  const link = text(raw.linkName);
  if (type === undefined) throw useless(`${name} is a ${raw.type}`);
  // Names that are no UTF-8 have lost bytes in JSON.
  if (`${name}${link}`.includes('\ufffd')) throw useless(`the name ${name} is not whole`);
  if (type === 'symlink' && link === '') throw useless(`the link ${name} has no target`);
  const path = cleanTarPath(name);
  const xattrs = new Map(
    Object.entries(raw.xattrs ?? {}).map(([key, value]) => [key, Buffer.from(text(value), 'base64')]),
  );
  const fault = nameFault(path) ?? xattrFault(xattrs);
  if (fault !== undefined) throw useless(fault);
  return {
    path,
    type,
    mode: count(raw.mode) & 0o7777,
    uid: owner(raw.uid),
    gid: owner(raw.gid),
    uname: '',
    gname: '',
    size: type === 'file' ? count(raw.size) : 0,
    mtimeNs: timeOf(raw.modtime),
    ...(type === 'symlink' && { link }),
    ...(type === 'hardlink' && { link: cleanTarPath(link) }),
    devmajor: count(raw.devMajor),
    devminor: count(raw.devMinor),
    xattrs,
  };
}

function text(value: unknown): string {
  if (value === undefined) return '';
  if (typeof value !== 'string' || value.includes('\0')) throw useless('a text in it is none');
  return value;
}

function count(value: unknown): number {
  if (value === undefined) return 0;
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw useless(`${value} is no number of its table`);
  return value as number;
}

function owner(value: unknown): number {
  const id = count(value);
  if (id > 0xffffffff) throw useless(`${id} is no owner`);
  return id;
}

/** RFC 3339 as ns since the epoch; none is the epoch. */
function timeOf(modtime: string | undefined): bigint {
  const [, seconds, fraction = '', zone] =
    /^(.*?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(modtime ?? '') ?? [];
  const ms = Date.parse(`${seconds}${zone}`);
  return Number.isNaN(ms) ? 0n : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

function useless(why: string): DrydockError {
  return fail('unsupported', 'registry', `the layer cannot be read file by file: ${why}`);
}

function damaged(cause?: unknown): DrydockError {
  return fail('corrupt', 'registry', 'the table of contents is not the one that the manifest names', {
    hint: 'The registry or a proxy on the way changed it; try again, or tell who runs it.',
    cause,
  });
}
