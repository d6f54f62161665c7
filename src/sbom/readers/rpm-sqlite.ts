/** rpm's database of today, `rpmdb.sqlite` (Fedora, RHEL 9 and later): a table with a header in each row. */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { fail } from '../../errors/index.ts';
import { atEntry, type FsEntry } from '../../fs/index.ts';
import type { Distro, Found, FoundPackage } from '../types.ts';
import { rpmPackage } from './rpm-header.ts';

const maxHeader = 64 << 20;

/**
 * Reads the packages of the database, which is opened as one that never changes: nothing is written beside it. Changes
 * that are still in its log are read from a copy.
 */
export function* rpmSqlite({ view, entry, distro, spend }: Found): Generator<FoundPackage, void> {
  const log = view.lstat(`${entry.path}-wal`);
  if (log?.type !== 'file' || log.size === 0) {
    yield* atEntry(entry, (path) => [...packagesIn(fixed(path), distro, spend)]);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'drydock-rpm-'));
  try {
    const path = join(folder, entry.name);
    copyTo(entry, path);
    copyTo(log, `${path}-wal`);
    yield* packagesIn(path, distro, spend);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function fixed(path: string): URL {
  const url = pathToFileURL(path);
  url.searchParams.set('immutable', '1');
  return url;
}

function copyTo(entry: FsEntry, path: string): void {
  atEntry(entry, (from) => copyFileSync(from, path));
}

function* packagesIn(
  path: string | URL,
  distro: Distro,
  spend: Found['spend'],
): Generator<FoundPackage, void> {
  const isCopy = typeof path === 'string';
  const db = new DatabaseSync(path, { readOnly: !isCopy, allowExtension: false });
  try {
    db.exec('PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON');
    const table = db.prepare("SELECT type, sql FROM sqlite_schema WHERE name = 'Packages'").get();
    // A view, or a table that computes its columns, could keep the scanner busy for ever.
    if (table?.type !== 'table' || /\b(virtual|generated|as|default)\b/i.test(String(table.sql))) {
      throw fail('invalid', 'file', 'it is no database of rpm');
    }
    const rows = db.prepare('SELECT blob FROM Packages WHERE length(blob) <= ?').iterate(maxHeader);
    for (const { blob } of rows) {
      if (!(blob instanceof Uint8Array)) continue;
      spend(blob.length);
      const found = rpmPackage(Buffer.from(blob), distro);
      if (found !== undefined) yield found;
    }
  } finally {
    db.close();
  }
}
