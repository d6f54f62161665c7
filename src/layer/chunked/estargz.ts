/**
 * eStargz: a gzip blob whose files can be read one by one. Each chunk of a file begins a gzip member of its own; the
 * last members are the table of contents, as a file of a tar archive, and a footer that says where the table begins.
 * The table follows the end of the layer's own archive, so that ordinary readers do not see it; it counts for the diff
 * ID. https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
 */
import zlib from 'node:zlib';
import { bytesOf } from '../../linux/index.ts';
import { digestOf, estargzAnnotations } from '../../oci/index.ts';
import { endOfArchive, header, padding } from '../../tar/index.ts';
import { type ChunkedEnd, type ChunkedEntry, spelled } from './chunks.ts';

/** The file that holds the table of contents. No layer can have another file of this name. */
export const tocName = 'stargz.index.json';

/** The bytes of a file that are one chunk. */
export const estargzChunk = 4 << 20;

interface TocEntry {
  name: string;
  type: string;
  size?: number;
  modtime?: string;
  linkName?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  userName?: string;
  groupName?: string;
  offset?: number;
  devMajor?: number;
  devMinor?: number;
  xattrs?: Record<string, string>;
  digest?: string;
  chunkOffset?: number;
  chunkSize?: number;
  chunkDigest?: string;
}

/** The table and the footer of a blob that has `blobSize` bytes so far, and whose archive has `plainSize`. */
export function estargzEnd(
  entries: readonly ChunkedEntry[],
  { blobSize, plainSize, level }: { blobSize: number; plainSize: number; level: number },
): ChunkedEnd {
  const json = Buffer.from(JSON.stringify({ version: 1, entries: tocEntries(entries) }));
  const head = header({ ...tocFile, size: json.length });
  const plain = Buffer.concat([head, json, padding(json.length), endOfArchive]);
  return {
    bytes: Buffer.concat([gzipMember(zlib.deflateRawSync(plain, { level }), plain), footer(blobSize)]),
    plain,
    annotations: {
      [estargzAnnotations.tocDigest]: digestOf(json),
      [estargzAnnotations.uncompressedSize]: String(plainSize + plain.length),
    },
  };
}

const tocFile = { path: tocName, type: 'file', mode: 0, uid: 0, gid: 0, mtimeNs: 0n } as const;

/** A whole gzip member (RFC 1952): without a name and a time, of an unknown OS. */
export function gzipMember(deflated: Buffer, plain: Buffer): Buffer {
  const out = Buffer.allocUnsafe(10 + deflated.length + 8);
  out.set([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
  deflated.copy(out, 10);
  out.writeUInt32LE(zlib.crc32(plain), out.length - 8);
  out.writeUInt32LE(plain.length >>> 0, out.length - 4);
  return out;
}

/** An empty gzip member of 51 bytes; its extra field `SG` says where the table's member begins. */
function footer(tocAt: number): Buffer {
  const field = Buffer.from(`${tocAt.toString(16).padStart(16, '0')}STARGZ`, 'latin1');
  const extra = Buffer.alloc(2 + 4);
  extra.writeUInt16LE(4 + field.length, 0);
  extra.write('SG', 2, 'latin1');
  extra.writeUInt16LE(field.length, 4);
  const emptyStored = [1, 0, 0, 0xff, 0xff];
  return Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff]),
    extra,
    field,
    Buffer.from([...emptyStored, ...Array<number>(8).fill(0)]),
  ]);
}

function tocEntries(entries: readonly ChunkedEntry[]): TocEntry[] {
  // A name is told where it changes.
  const users = new Map<number, string>();
  const groups = new Map<number, string>();
  const changed = (known: Map<number, string>, id: number, name: string) => {
    if (name === '' || known.get(id) === name) return undefined;
    known.set(id, name);
    return name;
  };
  return entries.flatMap(({ entry, chunks, sha256 }) => {
    const { path, link } = spelled(entry);
    const name = jsonName(path);
    const isFile = entry.type === 'file';
    const first: TocEntry = {
      name,
      type: isFile ? 'reg' : entry.type,
      size: isFile ? orNone(entry.size) : undefined,
      modtime: modtime(entry.mtimeNs),
      linkName: link === '' ? undefined : jsonName(link),
      mode: orNone(entry.mode),
      uid: orNone(entry.uid),
      gid: orNone(entry.gid),
      userName: changed(users, entry.uid, entry.uname),
      groupName: changed(groups, entry.gid, entry.gname),
      devMajor: orNone(entry.devmajor),
      devMinor: orNone(entry.devminor),
      xattrs: xattrsOf(entry.xattrs),
      digest: sha256 === undefined ? undefined : `sha256:${sha256}`,
    };
    if (chunks.length === 0) return [first];
    return chunks.map((chunk, i) => ({
      ...(i === 0 ? first : { name, type: 'chunk' }),
      offset: chunk.at,
      chunkOffset: orNone(chunk.offset),
      // The last chunk of a file goes to its end.
      chunkSize: i < chunks.length - 1 ? chunk.size : undefined,
      chunkDigest: `sha256:${chunk.sha256}`,
    }));
  });
}

function orNone(n: number): number | undefined {
  return n === 0 ? undefined : n;
}

/** Seconds, rounded; none for the epoch, and for years that the format has no spelling for. */
function modtime(ns: bigint): string | undefined {
  const ms = Number((ns + 500_000_000n) / 1_000_000_000n) * 1000;
  const text = ns < 0n || ns === 0n ? undefined : isoTime(ms);
  return text?.replace('.000Z', 'Z');
}

/** RFC 3339; undefined for a year that does not have four digits. */
export function isoTime(ms: number): string | undefined {
  if (!(Math.abs(ms) <= 8.64e15)) return undefined;
  const text = new Date(ms).toISOString();
  return /^\d{4}-/.test(text) ? text : undefined;
}

/** A name as JSON can hold it: bytes that are not UTF-8 become U+FFFD. */
export function jsonName(name: string): string {
  return name.isWellFormed() ? name : bytesOf(name).toString('utf8');
}

export function xattrsOf(xattrs: ReadonlyMap<string, Buffer>): Record<string, string> | undefined {
  if (xattrs.size === 0) return undefined;
  const list = [...xattrs].map(([name, value]) => [jsonName(name), value.toString('base64')] as const);
  return Object.fromEntries(list.sort(([a], [b]) => (a < b ? -1 : 1)));
}
