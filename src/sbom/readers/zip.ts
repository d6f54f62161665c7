/** Reads zip archives at any place, without unpacking them. https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT */
import { inflateRawSync } from 'node:zlib';
import { fail } from '../../errors/index.ts';
import type { OpenFile } from '../lines.ts';
import type { Found } from '../types.ts';

/** One file of an archive. */
export interface ZipEntry {
  name: string;
  /** Its bytes. Throws for more than `maxBytes`, and for a compression that is neither stored nor deflated. */
  read(maxBytes: number): Buffer;
  /** The file itself when it is stored as it is, to be read at any place; else undefined. */
  stored(): OpenFile | undefined;
}

const [endLength, centralLength, localLength] = [22, 46, 30];
const maxEntries = 200_000;

/** Yields the files of an archive in the order of its directory. Throws `invalid` for what is no archive. */
export function* zipEntries(file: OpenFile, spend: Found['spend']): Generator<ZipEntry, void> {
  const { offset, size, count } = directoryOf(file);
  if (count > maxEntries) throw fail('exhausted', 'file', `it has more than ${maxEntries} files`);
  const table = file.at(offset, size);
  for (let at = 0, i = 0; i < count && at + centralLength <= table.length; i++) {
    if (table.readUInt32LE(at) !== 0x02014b50) throw fail('invalid', 'file', 'its directory is broken');
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => table.readUInt16LE(at + o)) as [
      ...[number, number, number],
    ];
    const name = table.toString('utf8', at + centralLength, at + centralLength + nameLength);
    const method = table.readUInt16LE(at + 10);
    const packed = table.readUInt32LE(at + 20);
    const local = table.readUInt32LE(at + 42);
    at += centralLength + nameLength + extraLength + commentLength;
    yield entryOf(file, { name, method, packed, local }, spend);
  }
}

function entryOf(
  file: OpenFile,
  { name, method, packed, local }: { name: string; method: number; packed: number; local: number },
  spend: Found['spend'],
): ZipEntry {
  const start = () => {
    const head = file.at(local, localLength);
    if (head.readUInt32LE(0) !== 0x04034b50) throw fail('invalid', 'file', `${name}: it is not there`);
    return local + localLength + head.readUInt16LE(26) + head.readUInt16LE(28);
  };
  return {
    name,
    read(maxBytes) {
      if (packed > maxBytes) throw fail('exhausted', 'file', `${name}: more than ${maxBytes} bytes`);
      const bytes = file.at(start(), packed);
      if (method === 0) return bytes;
      if (method !== 8) throw fail('unsupported', 'file', `${name}: compression ${method}`);
      const unpacked = inflateRawSync(bytes, { maxOutputLength: maxBytes });
      spend(unpacked.length);
      return unpacked;
    },
    stored() {
      if (method !== 0) return undefined;
      const base = start();
      return {
        size: packed,
        at(offset, length) {
          if (offset < 0 || length < 0 || offset + length > packed)
            throw fail('invalid', 'file', 'it ends too early');
          return file.at(base + offset, length);
        },
      };
    },
  };
}

/** Finds the directory by the record at the archive's end, which a comment may follow. */
function directoryOf(file: OpenFile): { offset: number; size: number; count: number } {
  const length = Math.min(file.size, endLength + 0xffff);
  const tail = file.at(file.size - length, length);
  for (let at = tail.length - endLength; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== 0x06054b50) continue;
    return {
      count: tail.readUInt16LE(at + 10),
      size: tail.readUInt32LE(at + 12),
      offset: tail.readUInt32LE(at + 16),
    };
  }
  throw fail('invalid', 'file', 'it is no zip archive');
}
