/**
 * PAX extended headers: records `<length> <key>=<value>\n`.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_03
 */

import { bytesOf, nameLength, nameOf } from '../linux/index.ts';

/** The records of a PAX header. In format 0.0, sparse offsets and lengths repeat their keys, so they are kept apart. */
export interface PaxRecords {
  values: Map<string, string>;
  xattrs: Map<string, Buffer>;
  /** `GNU.sparse.offset` and `GNU.sparse.numbytes` in their order. */
  sparse00: [key: string, value: string][];
}

export function emptyRecords(): PaxRecords {
  return { values: new Map(), xattrs: new Map(), sparse00: [] };
}

const xattrPrefix = 'SCHILY.xattr.';

/** Reads a PAX header's body into `into`. Returns false when it is malformed. An empty value removes a key. */
export function readPax(body: Buffer, into: PaxRecords): boolean {
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    if (space < 0 || space === at || space - at > 10) return false;
    let length = 0;
    for (let i = at; i < space; i++) {
      const digit = (body[i] ?? 0) - 0x30;
      if (digit < 0 || digit > 9) return false;
      length = length * 10 + digit;
    }
    const end = at + length;
    if (end > body.length || end <= space + 1 || body[end - 1] !== 0x0a) return false;
    const equals = body.indexOf(0x3d, space + 1);
    if (equals <= space + 1 || equals >= end) return false;
    const key = nameOf(body, space + 1, equals);
    if (key.includes('\0')) return false;
    const value = body.subarray(equals + 1, end - 1);
    if (key.startsWith(xattrPrefix)) {
      into.xattrs.set(key.slice(xattrPrefix.length), Buffer.from(value));
    } else {
      if (value.includes(0)) return false;
      const text = nameOf(value);
      if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') into.sparse00.push([key, text]);
      else if (text === '') into.values.delete(key);
      else into.values.set(key, text);
    }
    at = end;
  }
  return true;
}

/** Writes one record, which begins with its own length. */
export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = nameLength(key) + (typeof value === 'string' ? nameLength(value) : value.length) + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  if (typeof value === 'string') return bytesOf(`${length} ${key}=${value}\n`);
  return Buffer.concat([bytesOf(`${length} ${key}=`), value, Buffer.from('\n')]);
}
