/**
 * The messages of FUSE, the kernel's protocol for filesystems in programs, as far as a read-only one needs them.
 * Numbers are little-endian, as on all supported machines. Pure.
 * Layouts: include/uapi/linux/fuse.h, version 7.31 and later.
 */
import { bytesOf, type HostStat, major, minor, nameOf, S_IFMT } from '../linux/index.ts';

/** The kinds of requests. */
export const opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  readlink: 5,
  open: 14,
  read: 15,
  statfs: 17,
  release: 18,
  getxattr: 22,
  listxattr: 23,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  access: 34,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  readdirplus: 44,
} as const;

/** The errors of Linux that a filesystem answers with. */
export const errno = {
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENODEV: 19,
  ENOTDIR: 20,
  EINVAL: 22,
  EROFS: 30,
  ERANGE: 34,
  ENOSYS: 38,
  ENODATA: 61,
} as const;

/** The node id of the filesystem's root. */
export const rootNode = 1n;

/** The head of a request; its arguments follow in `body`. */
export interface FuseRequest {
  opcode: number;
  /** Names the request in its answer. */
  unique: bigint;
  node: bigint;
  /** The thread that asks; 0 for one that this process cannot see, and for the kernel itself. */
  thread: number;
  body: Buffer;
}

const requestHead = 40;
export const answerHead = 16;

/** Reads a request, which is all that one read(2) of /dev/fuse gave. */
export function readRequest(bytes: Buffer): FuseRequest {
  return {
    opcode: bytes.readUInt32LE(4),
    unique: bytes.readBigUInt64LE(8),
    node: bytes.readBigUInt64LE(16),
    thread: bytes.readUInt32LE(32),
    body: bytes.subarray(requestHead),
  };
}

/** Writes the head of an answer of `length` bytes in all. `error`: one of `errno`, or 0. */
export function putAnswerHead(out: Buffer, unique: bigint, error = 0, length = out.length): void {
  out.writeUInt32LE(length, 0);
  out.writeInt32LE(-error, 4);
  out.writeBigUInt64LE(unique, 8);
}

/** An answer with these bytes. */
export function answer(unique: bigint, body: Buffer = Buffer.alloc(0)): Buffer {
  const out = Buffer.allocUnsafe(answerHead + body.length);
  putAnswerHead(out, unique);
  body.copy(out, answerHead);
  return out;
}

/** The answer that a request failed. */
export function failed(unique: bigint, error: number): Buffer {
  const out = Buffer.alloc(answerHead);
  putAnswerHead(out, unique, error);
  return out;
}

/** A name with a NUL at its end, as arguments have them. */
export function nameAt(body: Buffer, at = 0): string {
  const end = body.indexOf(0, at);
  return nameOf(body, at, end < 0 ? body.length : end);
}

/** The features that are asked for, by their bits in `flags` and `flags2` (from bit 32 on). */
const features = {
  asyncRead: 0,
  doReaddirplus: 13,
  readdirplusAuto: 14,
  parallelDirops: 18,
  maxPages: 22,
  cacheSymlinks: 23,
  noOpendir: 24,
  noOpen: 17,
  initExt: 30,
  allowIdmap: 40,
} as const;

/** The largest read in pages of 4 KiB: 1 MiB. */
const maxPages = 256;
/** Nothing is ever written; a request with its head fits into `requestSize` with this. */
const maxWrite = 4096;
/** The bytes to read a request into; the kernel refuses less than 8 KiB. */
export const requestSize = 64 << 10;

/** The answer to the first request: the kernel's features that are used, out of those that it offers. */
export function initAnswer({ unique, body }: FuseRequest): Buffer {
  const minorVersion = body.readUInt32LE(4);
  const offered =
    BigInt(body.readUInt32LE(12)) | (body.length >= 20 ? BigInt(body.readUInt32LE(16)) << 32n : 0n);
  let used = 0n;
  for (const bit of Object.values(features)) used |= offered & (1n << BigInt(bit));
  const out = Buffer.alloc(64);
  out.writeUInt32LE(7, 0);
  out.writeUInt32LE(Math.min(minorVersion, 41), 4);
  out.writeUInt32LE(body.readUInt32LE(8), 8); // all of the readahead that the kernel has
  out.writeUInt32LE(Number(used & 0xffffffffn), 12);
  out.writeUInt16LE(64, 16); // requests in the background
  out.writeUInt16LE(48, 18);
  out.writeUInt32LE(maxWrite, 20);
  out.writeUInt32LE(1, 24); // times in ns
  out.writeUInt16LE(maxPages, 28);
  out.writeUInt32LE(Number(used >> 32n), 32);
  return answer(unique, out);
}

const attrSize = 88;
export const entrySize = 40 + attrSize;
/** Nothing changes in a filesystem of layers: the kernel may remember for good what it was told (seconds). */
const forever = 0x7fffffffn;

/** Writes a file's attributes (`struct fuse_attr`). */
function putAttr(out: Buffer, at: number, node: bigint, st: HostStat): void {
  const type = st.mode & S_IFMT;
  out.fill(0, at, at + attrSize);
  out.writeBigUInt64LE(node, at);
  out.writeBigUInt64LE(BigInt(st.size), at + 8);
  out.writeBigUInt64LE(BigInt(Math.ceil(st.size / 512)), at + 16);
  for (const [i, ns] of [st.mtimeNs, st.mtimeNs, st.ctimeNs].entries()) {
    const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    out.writeBigInt64LE((ns - rest) / 1_000_000_000n, at + 24 + 8 * i);
    out.writeUInt32LE(Number(rest), at + 48 + 4 * i);
  }
  out.writeUInt32LE(st.mode, at + 60);
  out.writeUInt32LE(st.nlink, at + 64);
  out.writeUInt32LE(st.uid, at + 68);
  out.writeUInt32LE(st.gid, at + 72);
  out.writeUInt32LE(type === 0 ? 0 : kernelDevice(st.rdev), at + 76);
  out.writeUInt32LE(4096, at + 80);
}

/** A device number as the kernel encodes it in 32 bits (`new_encode_dev`). */
function kernelDevice(rdev: bigint): number {
  const low = minor(rdev);
  return ((low & 0xff) | (major(rdev) << 8) | ((low & ~0xff) << 12)) >>> 0;
}

/** Writes what a name leads to (`struct fuse_entry_out`). */
export function putEntry(out: Buffer, at: number, node: bigint, generation: number, st: HostStat): void {
  out.writeBigUInt64LE(node, at);
  out.writeBigUInt64LE(BigInt(generation), at + 8);
  out.writeBigUInt64LE(forever, at + 16);
  out.writeBigUInt64LE(forever, at + 24);
  out.writeBigUInt64LE(0n, at + 32);
  putAttr(out, at + 40, node, st);
}

/** The answer to LOOKUP that the name does not exist, for the kernel to remember. */
export function noEntry(unique: bigint): Buffer {
  const body = Buffer.alloc(entrySize);
  body.writeBigUInt64LE(forever, 16);
  return answer(unique, body);
}

/** The answer to GETATTR. */
export function attrAnswer(unique: bigint, node: bigint, st: HostStat): Buffer {
  const body = Buffer.alloc(16 + attrSize);
  body.writeBigUInt64LE(forever, 0);
  putAttr(body, 16, node, st);
  return answer(unique, body);
}

/** The arguments of READ, READDIR and READDIRPLUS: where to begin and how much there is room for, in bytes. */
export function readRange({ body }: FuseRequest): { offset: number; size: number } {
  return { offset: Number(body.readBigUInt64LE(8)), size: body.readUInt32LE(16) };
}

/** A name in a folder: its number as stat shows it, and its type as the high bits of a mode (`mode >> 12`). */
export interface DirEntry {
  name: string;
  ino: bigint;
  type: number;
}

/** The bytes that a folder's entry takes in an answer. */
function direntSize(name: Buffer): number {
  return (24 + name.length + 7) & ~7;
}

/**
 * Writes entries until `size` bytes are full. An entry's offset is the number of the next one. `plus` (READDIRPLUS)
 * writes what the entry's name leads to in front of it, and is called for each entry that fits.
 */
export function dirAnswer(
  unique: bigint,
  entries: readonly DirEntry[],
  { offset, size }: { offset: number; size: number },
  plus?: (out: Buffer, at: number, entry: DirEntry) => void,
): Buffer {
  const out = Buffer.alloc(answerHead + size);
  let at = answerHead;
  for (let i = offset; i < entries.length; i++) {
    const entry = entries[i] as DirEntry;
    const name = bytesOf(entry.name);
    const before = plus === undefined ? 0 : entrySize;
    if (at + before + direntSize(name) > out.length) break;
    plus?.(out, at, entry);
    at += before;
    out.writeBigUInt64LE(entry.ino, at);
    out.writeBigUInt64LE(BigInt(i + 1), at + 8);
    out.writeUInt32LE(name.length, at + 16);
    out.writeUInt32LE(entry.type, at + 20);
    name.copy(out, at + 24);
    at += direntSize(name);
  }
  putAnswerHead(out, unique, 0, at);
  return out.subarray(0, at);
}

/** The answer to GETXATTR and LISTXATTR: the value, or its size when none was given room. */
export function xattrAnswer({ unique, body }: FuseRequest, value: Buffer): Buffer {
  const room = body.readUInt32LE(0);
  if (room === 0) {
    const out = Buffer.alloc(8);
    out.writeUInt32LE(value.length, 0);
    return answer(unique, out);
  }
  return value.length > room ? failed(unique, errno.ERANGE) : answer(unique, value);
}

/** The name of the attribute that GETXATTR asks for. */
export function xattrName({ body }: FuseRequest): string {
  return nameAt(body, 8);
}

/** The answer to STATFS: an empty, full filesystem. */
export function statfsAnswer(unique: bigint): Buffer {
  const body = Buffer.alloc(80);
  body.writeUInt32LE(4096, 40);
  body.writeUInt32LE(255, 44);
  body.writeUInt32LE(4096, 48);
  return answer(unique, body);
}

/** The nodes that the kernel has forgotten, and how many of its lookups of each. */
export function* forgotten({
  opcode: kind,
  node,
  body,
}: FuseRequest): Generator<[node: bigint, count: bigint]> {
  if (kind === opcode.forget) {
    yield [node, body.readBigUInt64LE(0)];
    return;
  }
  const count = body.readUInt32LE(0);
  for (let i = 0; i < count; i++) yield [body.readBigUInt64LE(8 + 16 * i), body.readBigUInt64LE(16 + 16 * i)];
}
