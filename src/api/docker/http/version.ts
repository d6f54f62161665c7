/** API versions: `/v1.41/images/json` and `/images/json` are the same place. Pure. */
import { apiError } from './errors.ts';

export const newestVersion = '1.56';
export const oldestVersion = '1.24';

export const serverHeader = `Drydock (linux) API/${oldestVersion}-${newestVersion}`;

interface VersionedPath {
  /** The path without its version. */
  path: string;
  /** The version that is asked for, or else the newest. */
  version: string;
}

/** Takes the version off a path. Throws `invalid`, in docker's words, for a version that is not spoken here. */
export function splitVersion(path: string): VersionedPath {
  const match = /^\/v(\d+\.\d+)(\/.*)$/s.exec(path);
  if (match === null) return { path, version: newestVersion };
  const [, version, rest] = match as unknown as [string, string, string];
  checkOldest(version, oldestVersion);
  if (compareVersions(version, newestVersion) > 0) {
    throw apiError(
      'invalid',
      `client version ${version} is too new. Maximum supported API version is ${newestVersion}`,
    );
  }
  return { path: rest, version };
}

/** Throws `invalid`, in docker's words, for a version that is older than the oldest that is wanted. */
export function checkOldest(version: string, oldest: string): void {
  if (compareVersions(version, oldest) >= 0) return;
  throw apiError(
    'invalid',
    `client version ${version} is too old. Minimum supported API version is ${oldest}, please upgrade your client to a newer version`,
  );
}

/** Below 0, 0 or above 0, as `a` is older than `b`, the same, or newer. */
function compareVersions(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split('.').map(Number);
  const [bMajor = 0, bMinor = 0] = b.split('.').map(Number);
  return aMajor - bMajor || aMinor - bMinor;
}

/** Whether an API version is older than another. */
export function isBefore(version: string, other: string): boolean {
  return compareVersions(version, other) < 0;
}
