/**
 * The locks of pnpm and yarn. Their programs write them in one form, which is read line by line: no value of a lock is
 * looked at but names and versions.
 */
import { linesOf } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { npmPackage } from './npm.ts';

/** Reads the packages of a pnpm-lock.yaml, of any version: the keys below `packages:`. */
export function* pnpmLock(found: Found): Generator<FoundPackage, void> {
  let isInPackages = false;
  for (const line of linesOf(found)) {
    if (/^\S/.test(line)) isInPackages = line === 'packages:';
    if (!isInPackages) continue;
    const key = /^ {2}(['"]?)(\S.*?)\1:(?: \{\})?$/.exec(line)?.[2];
    const found = key === undefined ? undefined : pnpmKey(key);
    if (found !== undefined) yield found;
  }
}

/** `/a/1.0.0`, `/@s/a/1.0.0_peer@2`, `/a@1.0.0(peer@2)` or `a@1.0.0`; undefined for a package from elsewhere. */
function pnpmKey(key: string): FoundPackage | undefined {
  const plain = key.replace(/^\//, '').replace(/\(.*$/, '');
  const match =
    /^((?:@[^/@]+\/)?[^/@]+)@(\d[^/@:]*)$/.exec(plain) ?? /^((?:@[^/]+\/)?[^/@]+)\/(\d[^/_]*)/.exec(plain);
  return match === null ? undefined : npmPackage(match[1] as string, match[2] as string);
}

/** Reads the packages of a yarn.lock, of yarn 1 or later. */
export function* yarnLock(found: Found): Generator<FoundPackage, void> {
  let name: string | undefined;
  let version: string | undefined;
  let isLinked = false;
  const made = function* (): Generator<FoundPackage, void> {
    if (name !== undefined && version !== undefined && !isLinked) yield npmPackage(name, version);
    name = version = undefined;
    isLinked = false;
  };
  for (const line of linesOf(found)) {
    if (line.startsWith('#') || line === '') continue;
    if (!line.startsWith(' ')) {
      yield* made();
      name = /^"?((?:@[^/@"]+\/)?[^/@"]+)@/.exec(line)?.[1];
      continue;
    }
    version ??= /^ {2}version:? "?([^"\s]+)"?$/.exec(line)?.[1];
    const resolved = /^ {2}resolution: "((?:@[^/@]+\/)?[^/@]+)@([a-z]+):/.exec(line);
    if (resolved === null) continue;
    // An alias is installed under another name than its own.
    name = resolved[1];
    isLinked = resolved[2] === 'workspace' || resolved[2] === 'link' || resolved[2] === 'portal';
  }
  yield* made();
}
