/**
 * rpm's database of old, `Packages` (CentOS 7, Amazon Linux 2): a hash of Berkeley DB. All pages are gone through; the
 * order of the hash does not matter. Format: Berkeley DB's dbinc/db_page.h.
 */
import { fail } from '../../errors/index.ts';
import { type OpenFile, withFile } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { numbersOf } from './elf.ts';
import { rpmPackage } from './rpm-header.ts';

const hashMagic = 0x00061561;
const headLength = 26;
/** Kinds of pages and of items. */
const [hashPage, oldHashPage, overflowPage] = [13, 2, 7];
const [inPage, offPage] = [1, 3];
const maxHeader = 64 << 20;

/** Reads the packages of the database. */
export function rpmBdb(found: Found): Iterable<FoundPackage> {
  const { distro } = found;
  return withFile(found, function* (file): Generator<FoundPackage, void> {
    const meta = file.at(0, 512);
    const isBig = meta.readUInt32BE(12) === hashMagic;
    if (!isBig && meta.readUInt32LE(12) !== hashMagic)
      throw fail('invalid', 'file', 'it is no hash of Berkeley DB');
    const { u16, u32 } = numbersOf(isBig, false);
    const size = u32(meta, 20);
    if (size < 512 || size > 65536) throw fail('invalid', 'file', 'its pages have no sound size');
    for (let i = 1; i < file.size / size; i++) {
      const bytes = file.at(i * size, size);
      const kind = bytes[25];
      if (kind !== hashPage && kind !== oldHashPage) continue;
      const count = u16(bytes, 20);
      if (headLength + count * 2 > size) throw fail('invalid', 'file', 'a page is broken');
      // Keys and values take turns.
      for (let item = 1; item < count; item += 2) {
        const at = u16(bytes, headLength + item * 2);
        const end = u16(bytes, headLength + (item - 1) * 2);
        if (at + 1 > size || end > size) throw fail('invalid', 'file', 'a page is broken');
        let header: Buffer | undefined;
        if (bytes[at] === inPage) header = bytes.subarray(at + 1, end);
        else if (bytes[at] === offPage && at + 12 <= size) {
          header = chain(file, { size, isBig, page: u32(bytes, at + 4), length: u32(bytes, at + 8) });
        }
        // The first record counts the others.
        if (header === undefined || header.length < 24) continue;
        const made = rpmPackage(header, distro);
        if (made !== undefined) yield made;
      }
    }
  });
}

/** Joins the pages of a large value. */
function chain(
  file: OpenFile,
  { size, isBig, page, length }: { size: number; isBig: boolean; page: number; length: number },
): Buffer {
  if (length > maxHeader) throw fail('exhausted', 'file', `a package has more than ${maxHeader} bytes`);
  const { u16, u32 } = numbersOf(isBig, false);
  const parts: Buffer[] = [];
  let got = 0;
  for (let at = page; got < length; ) {
    const bytes = file.at(at * size, size);
    const n = u16(bytes, 22);
    if (bytes[25] !== overflowPage || n === 0 || headLength + n > size)
      throw fail('invalid', 'file', 'a page is broken');
    parts.push(bytes.subarray(headLength, headLength + n));
    got += n;
    at = u32(bytes, 16);
  }
  return Buffer.concat(parts, length);
}
