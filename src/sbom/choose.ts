/** Which reader a file has, by its name and its place. */
import type { FsEntry } from '../fs/index.ts';
import { apkInstalled } from './readers/apk.ts';
import { dpkgStatus } from './readers/dpkg.ts';
import { gemspec } from './readers/gem.ts';
import { javaArchive } from './readers/jar.ts';
import { packageJson, packageLock } from './readers/npm.ts';
import { program } from './readers/programs.ts';
import { pythonMetadata } from './readers/python.ts';
import { rpmBdb } from './readers/rpm-bdb.ts';
import { rpmNdb } from './readers/rpm-ndb.ts';
import { rpmSqlite } from './readers/rpm-sqlite.ts';
import { pnpmLock, yarnLock } from './readers/yaml-locks.ts';
import type { Reader } from './types.ts';

/** Readers of files that have these names, at the places that match. */
const byName: Readonly<Record<string, readonly [place: RegExp, Reader][]>> = {
  status: [[/\/var\/lib\/dpkg\/status$/, dpkgStatus]],
  installed: [[/\/lib\/apk\/db\/installed$/, apkInstalled]],
  'rpmdb.sqlite': [[/\/(lib|share)\/(rpm|sysimage\/rpm)\/rpmdb\.sqlite$/, rpmSqlite]],
  'Packages.db': [[/\/(lib|share)\/(rpm|sysimage\/rpm)\/Packages\.db$/, rpmNdb]],
  Packages: [[/\/(lib|share)\/(rpm|sysimage\/rpm)\/Packages$/, rpmBdb]],
  'package.json': [[/\/node_modules\/(@[^/]+\/)?[^/@.][^/]*\/package\.json$/, packageJson]],
  METADATA: [[/\.dist-info\/METADATA$/, pythonMetadata]],
  'PKG-INFO': [[/\.egg-info\/PKG-INFO$/, pythonMetadata]],
};
/**
 * Locks of applications, which count where nothing is installed beside them. A lock that an installed package brings
 * along is of its own development.
 */
const locks: Readonly<Record<string, Reader>> = {
  'package-lock.json': packageLock,
  'npm-shrinkwrap.json': packageLock,
  'pnpm-lock.yaml': pnpmLock,
  'yarn.lock': yarnLock,
};
const byEnding: Readonly<Record<string, [place: RegExp, Reader]>> = {
  jar: [/./, javaArchive],
  war: [/./, javaArchive],
  ear: [/./, javaArchive],
  gemspec: [/\/specifications\/(default\/)?[^/]+$/, gemspec],
  'egg-info': [/\/(site|dist)-packages\/[^/]+$/, pythonMetadata],
};

/** The smallest file, in bytes, that can be a Go or Rust program. */
const minProgram = 16 << 10;

/** What a folder holds that matters for its files. */
interface Beside {
  /** It has a `node_modules`. */
  isInstalled: boolean;
  /** It has a lock of an application. */
  isLocked: boolean;
}

/** Tells what matters of a folder's entries. */
export function besideOf(entries: readonly FsEntry[]): Beside {
  return {
    isInstalled: entries.some(({ name, type }) => name === 'node_modules' && type === 'dir'),
    isLocked: entries.some(({ name, type }) => Object.hasOwn(locks, name) && type === 'file'),
  };
}

/** Finds the reader of a regular file; undefined for a file that tells of no packages. */
export function readerOf({ name, path, mode, size }: FsEntry, beside: Beside): Reader | undefined {
  if (size === 0) return undefined;
  if (Object.hasOwn(byName, name)) {
    for (const [place, reader] of byName[name] ?? []) if (place.test(path)) return reader;
    if (
      name === 'package.json' &&
      (beside.isInstalled || beside.isLocked) &&
      !path.includes('/node_modules/')
    ) {
      return packageJson;
    }
  }
  if (Object.hasOwn(locks, name)) {
    return beside.isInstalled || path.includes('/node_modules/') ? undefined : locks[name];
  }
  if (path.includes('/var/lib/dpkg/status.d/') && !name.endsWith('.md5sums')) return dpkgStatus;
  const ending = name.slice(name.lastIndexOf('.') + 1);
  if (Object.hasOwn(byEnding, ending)) {
    const [place, reader] = byEnding[ending] as [RegExp, Reader];
    if (place.test(path)) return reader;
  }
  return (mode & 0o111) !== 0 && size >= minProgram ? program : undefined;
}
