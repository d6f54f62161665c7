/**
 * rpm's own database, `Packages.db` (SUSE): pages of slots, each of which leads to a package.
 * https://github.com/rpm-software-management/rpm/blob/master/lib/backend/ndb/rpmpkg.cc has the format.
 */
import { fail } from '../../errors/index.ts';
import { withFile } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { rpmPackage } from './rpm-header.ts';

const [page, slot, block] = [4096, 16, 16];
const magics = { file: 'RpmP', slot: 'Slot', blob: 'BlbS' };
const maxPages = 4096;

/** Reads the packages of the database. */
export function rpmNdb(found: Found): Iterable<FoundPackage> {
  const { distro } = found;
  return withFile(found, function* (file): Generator<FoundPackage, void> {
    const head = file.at(0, 32);
    if (head.toString('latin1', 0, 4) !== magics.file)
      throw fail('invalid', 'file', 'it is no database of rpm');
    const pages = head.readUInt32LE(12);
    if (pages > maxPages) throw fail('exhausted', 'file', `it has more than ${maxPages} pages of slots`);
    for (let i = 0; i < pages; i++) {
      const slots = file.at(i * page, page);
      // The first two places are the file's header.
      for (let at = i === 0 ? 2 * slot : 0; at < page; at += slot) {
        if (slots.toString('latin1', at, at + 4) !== magics.slot)
          throw fail('invalid', 'file', 'a slot is broken');
        const offset = slots.readUInt32LE(at + 8) * block;
        if (slots.readUInt32LE(at + 4) === 0 || offset === 0) continue;
        const blob = file.at(offset, 16);
        if (blob.toString('latin1', 0, 4) !== magics.blob)
          throw fail('invalid', 'file', 'a package is not there');
        const made = rpmPackage(file.at(offset + 16, blob.readUInt32LE(12)), distro);
        if (made !== undefined) yield made;
      }
    }
  });
}
