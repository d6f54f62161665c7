/**
 * Writes tar headers in the form in which Go's archive/tar writes them for image layers: plain ustar fields where they
 * are enough, else a PAX header before. The same entries always give the same bytes.
 */
import { compareNames } from '../linux/index.ts';
import { withoutEnd } from '../words/index.ts';
import { paxRecord } from './pax.ts';

const BLOCK = 512;

/** The fields of a header; see TarEntry. The content is written separately. */
export interface TarHeader {
  /** The path without a leading or trailing slash. */
  path: string;
  type: 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';
  mode: number;
  uid: number;
  gid: number;
  /** The number of bytes after the header; 0 for everything but a file. */
  size: number;
  mtimeNs: bigint;
  link?: string;
  devmajor?: number;
  devminor?: number;
  uname?: string;
  gname?: string;
  xattrs?: Iterable<readonly [name: string, value: Buffer]>;
  /** For a file whose holes are left out: its size with them. Its content begins with a map (`sparseMap`). */
  realSize?: number;
}

const flags: Record<TarHeader['type'], number> = {
  file: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  dir: 0x35,
  fifo: 0x36,
};

/** The blocks before an entry's bytes: one header, and before it a PAX header when fields do not fit. */
export function header(entry: TarHeader): Buffer {
  const path = entry.type === 'dir' ? `${entry.path}/` : entry.path;
  const link = entry.link ?? '';
  const records: [string, string | Buffer][] = [];
  if (!fits(path, 100)) records.push(['path', path]);
  if (!fits(link, 100)) records.push(['linkpath', link]);
  if (entry.size > 0o77777777777) records.push(['size', String(entry.size)]);
  if (entry.uid > 0o7777777) records.push(['uid', String(entry.uid)]);
  if (entry.gid > 0o7777777) records.push(['gid', String(entry.gid)]);
  if (!fits(entry.uname ?? '', 32)) records.push(['uname', entry.uname ?? '']);
  if (!fits(entry.gname ?? '', 32)) records.push(['gname', entry.gname ?? '']);
  const seconds = floorSeconds(entry.mtimeNs);
  if (entry.mtimeNs % 1_000_000_000n !== 0n || seconds < 0 || seconds > 0o77777777777) {
    records.push(['mtime', paxTime(entry.mtimeNs)]);
  }
  if (entry.realSize !== undefined) {
    records.push(['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0']);
    records.push(['GNU.sparse.name', path], ['GNU.sparse.realsize', String(entry.realSize)]);
  }
  for (const [name, value] of entry.xattrs ?? []) records.push([`SCHILY.xattr.${name}`, value]);
  if (records.length === 0) {
    const block = zeroed(BLOCK);
    putHeader(block, 0, entry, path, link, seconds);
    return block;
  }
  if (records.length > 1) records.sort(([a], [b]) => compareNames(a, b));
  const bodies = records.map(([key, value]) => paxRecord(key, value));
  const length = bodies.reduce((sum, body) => sum + body.length, 0);
  const out = zeroed(BLOCK + padded(length) + BLOCK);
  putPaxHeader(out, entry.path, length);
  let at = BLOCK;
  for (const body of bodies) at += body.copy(out, at);
  putHeader(out, out.length - BLOCK, entry, path, link, seconds);
  return out;
}

/** Zeros from Buffer's pool (which `Buffer.alloc` does not use) when the length is small: there are many of them. */
function zeroed(length: number): Buffer {
  return Buffer.allocUnsafe(length).fill(0);
}

/** The zeros to write after `size` bytes of content, up to the next block. */
export function padding(size: number): Buffer {
  return zeros.subarray(0, padded(size) - size);
}

/** Rounds `size` up to whole blocks. */
export function padded(size: number): number {
  const over = size % BLOCK;
  return over === 0 ? size : size + BLOCK - over;
}

const zeros = Buffer.alloc(2 * BLOCK);

/** The two zero blocks that end an archive. */
export const endOfArchive: Buffer = zeros;

function fits(text: string, length: number): boolean {
  if (text.length > length) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

function putHeader(
  out: Buffer,
  at: number,
  entry: TarHeader,
  path: string,
  link: string,
  seconds: number,
): void {
  putText(out, at, ascii(path), 100);
  putOctal(out, at + 100, 8, entry.mode & 0o7777);
  putOctal(out, at + 108, 8, entry.uid);
  putOctal(out, at + 116, 8, entry.gid);
  putOctal(out, at + 124, 12, entry.size);
  putOctal(out, at + 136, 12, seconds);
  out[at + 156] = flags[entry.type];
  putText(out, at + 157, ascii(link), 100);
  out.write('ustar\x0000', at + 257, 'latin1');
  putText(out, at + 265, ascii(entry.uname ?? ''), 32);
  putText(out, at + 297, ascii(entry.gname ?? ''), 32);
  putOctal(out, at + 329, 8, entry.devmajor ?? 0);
  putOctal(out, at + 337, 8, entry.devminor ?? 0);
  putChecksum(out, at);
}

function putPaxHeader(out: Buffer, path: string, size: number): void {
  const slash = path.lastIndexOf('/');
  const dir = slash < 0 ? '' : path.slice(0, slash + 1);
  const name = ascii(`${dir}PaxHeaders.0/${path.slice(slash + 1)}`).slice(0, 100);
  putText(out, 0, withoutEnd(name, '/'), 100);
  for (const at of [100, 108, 116]) putOctal(out, at, 8, 0);
  putOctal(out, 124, 12, size);
  putOctal(out, 136, 12, 0);
  out[156] = 0x78;
  out.write('ustar\x0000', 257, 'latin1');
  putChecksum(out, 0);
}

/** The text without characters that a header cannot hold; the PAX record has all of it. */
function ascii(text: string): string {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return text.replace(/[^\0-\x7f]/gu, '');
  }
  return text;
}

function putText(out: Buffer, at: number, text: string, length: number): void {
  if (text !== '') out.write(text, at, length, 'latin1');
}

/**
 * Writes octal digits with leading zeros and a closing NUL; 0 when the value does not fit (a PAX record has it then).
 */
function putOctal(out: Buffer, at: number, length: number, value: number): void {
  let rest = value < 0 || value >= 8 ** (length - 1) ? 0 : value;
  for (let i = at + length - 2; i >= at; i--) {
    const digit = rest % 8;
    out[i] = 0x30 + digit;
    rest = (rest - digit) / 8;
  }
}

function putChecksum(out: Buffer, at: number): void {
  // The sum's own field counts as spaces; all bytes after the last field are zero.
  let sum = 8 * 0x20;
  for (let i = at; i < at + 345; i++) sum += out[i] as number;
  putOctal(out, at + 148, 7, sum);
  out[at + 155] = 0x20;
}

function floorSeconds(ns: bigint): number {
  const seconds = ns / 1_000_000_000n;
  return Number(ns < 0n && ns % 1_000_000_000n !== 0n ? seconds - 1n : seconds);
}

/** Writes PAX's decimal seconds, without trailing zeros. */
function paxTime(ns: bigint): string {
  const abs = ns < 0n ? -ns : ns;
  let fraction = Number(abs % 1_000_000_000n);
  let digits = fraction === 0 ? 0 : 9;
  while (digits > 0 && fraction % 10 === 0) {
    fraction /= 10;
    digits--;
  }
  const tail = digits === 0 ? '' : `.${String(fraction).padStart(digits, '0')}`;
  return `${ns < 0n ? '-' : ''}${abs / 1_000_000_000n}${tail}`;
}
