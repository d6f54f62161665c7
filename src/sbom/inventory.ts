/** Looks through a tree for packages. It works synchronously, on a thread. */
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { canceled, fail } from '../errors/index.ts';
import { type FsEntry, type FsView, openEntry } from '../fs/index.ts';
import { closeFd } from '../linux/index.ts';
import { besideOf, readerOf } from './choose.ts';
import { distroOf } from './distro.ts';
import { purlOf } from './purl.ts';
import type { Distro, FoundPackage } from './types.ts';

/** A package and the files that tell of it. */
export interface Component extends FoundPackage {
  purl: string;
  /** Paths of the files, in the order in which they were found. */
  files: string[];
}

/** A file that tells of packages. */
interface Evidence {
  path: string;
  sha1: string;
}

/** What is in a tree. */
export interface Inventory {
  distro: Distro;
  /** By package URL, sorted. */
  components: Component[];
  /** By path, sorted. */
  files: Evidence[];
  /** A sentence for each file that looks like one that tells of packages, and cannot be read. */
  problems: string[];
}

/** The most packages that are listed; what has more is no tree of packages. */
const maxPackages = 500_000;
const maxProblems = 100;
/** The largest file, in bytes, that is looked into. */
const maxFile = 4 * 2 ** 30;
/** How many times a file's size may be read or unpacked of it, and how many bytes of any file. */
const [mostTimes, leastBytes] = [20, 64 << 20];
/** The longest text of a package, in characters, and the most licences of its parts. */
const [maxText, maxLicenses] = [1000, 500];
/** The most characters that are told of a tree: its packages' texts, and the paths of the files that tell of them. */
const mostTold = 128 << 20;
/** Folders that hold no packages and no programs: texts about them by the thousand, and what the system mounts. */
const withoutPackages = new Set([
  ...['/dev', '/proc', '/sys', '/usr/include', '/usr/share/doc', '/usr/share/i18n', '/usr/share/icons'],
  ...['/usr/share/info', '/usr/share/locale', '/usr/share/man', '/usr/share/zoneinfo', '/var/lib/dpkg/info'],
]);

/**
 * Lists the packages of a tree. Throws `canceled` once `aborted` tells so, and `exhausted` for 500,000 packages or 128 Mi
 * characters of them.
 */
export function inventoryOf(view: FsView, aborted: () => boolean): Inventory {
  const distro = distroOf(view);
  const components = new Map<string, Component>();
  const files: Evidence[] = [];
  const problems: string[] = [];
  let told = 0;
  const tell = (...texts: readonly (string | undefined)[]) => {
    for (const text of texts) told += text?.length ?? 0;
    if (told > mostTold)
      throw fail('exhausted', 'file', `the tree's packages have more than ${mostTold} characters`);
  };
  const pending = ['/'];
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    if (aborted()) throw canceled();
    if (withoutPackages.has(dir)) continue;
    const entries = view.readdir(dir);
    const beside = besideOf(entries);
    for (const entry of entries) {
      if (entry.type === 'dir') pending.push(entry.path);
      if (entry.type !== 'file') continue;
      const reader = readerOf(entry, beside);
      if (reader === undefined) continue;
      if (aborted()) throw canceled();
      if (entry.size > maxFile) {
        problems.push(`${entry.path}: it has more than ${maxFile} bytes`);
        continue;
      }
      let count = 0;
      let left = entry.size * mostTimes + leastBytes;
      const spend = (bytes: number) => {
        if (aborted()) throw canceled();
        left -= bytes;
        if (left < 0) throw fail('exhausted', 'file', 'it would have to be read over and over');
      };
      try {
        for (const found of reader({ view, entry, distro, spend })) {
          count++;
          add(components, found, { entry, distro, tell });
          if (components.size > maxPackages) break;
        }
      } catch (err) {
        if (aborted()) throw canceled();
        if (told > mostTold) throw err;
        if (problems.length < maxProblems) problems.push(problemOf(entry, err));
      }
      if (components.size > maxPackages) {
        throw fail('exhausted', 'file', `the tree has more than ${maxPackages} packages`);
      }
      if (count > 0) {
        tell(entry.path);
        files.push({ path: entry.path, sha1: sha1Of(entry, aborted) });
      }
    }
  }
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  return {
    distro,
    components: [...components.values()].sort((a, b) => compare(a.purl, b.purl)),
    files: files.sort((a, b) => compare(a.path, b.path)),
    problems,
  };
}

function add(
  components: Map<string, Component>,
  told: FoundPackage,
  at: { entry: FsEntry; distro: Distro; tell: (...texts: (string | undefined)[]) => void },
): void {
  const { path } = at.entry;
  const found = clipped(told);
  const purl = purlOf(found, at.distro);
  const known = components.get(purl);
  if (known !== undefined) {
    if (known.files.at(-1) !== path) known.files.push(path);
    known.license ??= found.license;
    return;
  }
  const { name, version, namespace, qualifiers, license, supplier, homepage } = found;
  const texts = [license ?? [], supplier, homepage, ...Object.values(qualifiers ?? {})].flat();
  at.tell(purl, name, version, namespace, ...texts);
  components.set(purl, { ...found, purl, files: [path] });
}

/**
 * Cuts off what no package has: texts are compared with patterns, and stand in every document. They are copied, for a part
 * of a text keeps the whole of it (a part of a file) in memory.
 */
function clipped(found: FoundPackage): FoundPackage {
  const cut = (text: string | undefined) =>
    text === undefined ? undefined : Buffer.from(text.slice(0, maxText)).toString();
  const { kind, qualifiers = {} } = found;
  return {
    kind,
    name: cut(found.name) ?? '',
    version: cut(found.version) ?? '',
    namespace: cut(found.namespace),
    qualifiers: Object.fromEntries(Object.entries(qualifiers).map(([key, text]) => [key, cut(text)])),
    license:
      typeof found.license === 'object'
        ? found.license.slice(0, maxLicenses).map((text) => cut(text) ?? '')
        : cut(found.license),
    supplier: cut(found.supplier),
    homepage: cut(found.homepage),
  };
}

function problemOf({ path }: FsEntry, err: unknown): string {
  return `${path}: ${err instanceof Error ? err.message : String(err)}`;
}

function sha1Of(entry: FsEntry, aborted: () => boolean): string {
  const hash = createHash('sha1');
  const buffer = Buffer.allocUnsafe(Math.min(1 << 20, Math.max(entry.size, 1)));
  const fd = openEntry(entry);
  try {
    for (;;) {
      const n = readSync(fd, buffer, 0, buffer.length, null);
      if (n === 0) return hash.digest('hex');
      if (aborted()) throw canceled();
      hash.update(buffer.subarray(0, n));
    }
  } finally {
    closeFd(fd);
  }
}
