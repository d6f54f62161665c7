/** npm's packages: installed ones by their package.json, and package-lock.json of applications that are not installed. */
import type { Found, FoundPackage } from '../types.ts';
import { type Json, jsonIn, textIn } from './json.ts';

/** The largest package.json, in bytes. */
const maxManifest = 4 << 20;
/** The largest lock, in bytes. */
const maxLock = 64 << 20;

/** Makes a package of a name that may have a scope. */
export function npmPackage(full: string, version: string): FoundPackage {
  const slash = full.startsWith('@') ? full.indexOf('/') : -1;
  if (slash < 0) return { kind: 'npm', name: full, version };
  return { kind: 'npm', namespace: full.slice(0, slash), name: full.slice(slash + 1), version };
}

/** Reads an installed package, or an application: one package.json that has a name and a version. */
export function* packageJson(found: Found): Generator<FoundPackage, void> {
  const { name, version, license, licenses, author, homepage } = jsonIn(found, maxManifest);
  if (textIn(name) === undefined || textIn(version) === undefined) return;
  yield {
    ...npmPackage(name, version),
    license: licenseOf(license) ?? licensesOf(licenses),
    supplier: textIn(author) ?? textIn(author?.name),
    homepage: textIn(homepage),
  };
}

function licenseOf(license: Json): string | undefined {
  return textIn(license) ?? textIn(license?.type);
}

function licensesOf(list: Json): string | undefined {
  if (!Array.isArray(list)) return undefined;
  return list.flatMap((each) => licenseOf(each) ?? []).join(' OR ') || undefined;
}

/**
 * Reads a package-lock.json or npm-shrinkwrap.json of any version.
 * https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json
 */
export function* packageLock(found: Found): Generator<FoundPackage, void> {
  const lock = jsonIn(found, maxLock);
  if (typeof lock.packages === 'object' && lock.packages !== null) {
    for (const [path, each] of Object.entries<Json>(lock.packages)) {
      if (each === null || each.link === true) continue;
      const installed = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1];
      const name = textIn(each.name) ?? installed ?? (path === '' ? textIn(lock.name) : undefined);
      const version = textIn(each.version);
      if (name !== undefined && version !== undefined) {
        yield { ...npmPackage(name, version), license: licenseOf(each.license) };
      }
    }
    return;
  }
  const pending: Json[] = [lock.dependencies ?? {}];
  for (let list = pending.pop(); list !== undefined; list = pending.pop()) {
    for (const [name, each] of Object.entries<Json>(list)) {
      if (each === null || typeof each !== 'object') continue;
      const version = textIn(each.version);
      if (version !== undefined) yield npmPackage(name, version);
      if (each.dependencies) pending.push(each.dependencies);
    }
  }
}
