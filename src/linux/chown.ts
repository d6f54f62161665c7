/** Changes of owners. In a user namespace only the users and groups that it has can own files. */
import * as fs from 'node:fs';
import { errnoCode, fail } from '../errors/index.ts';
import { lchownSync as lchown } from './files.ts';
import { hasId, inUserNamespace } from './user-namespace.ts';

/** Changes the owner of the file itself. Throws `unsupported` for an owner that the user namespace does not have. */
export function lchownSync(path: string, uid: number, gid: number): void {
  try {
    lchown(path, uid, gid);
  } catch (err) {
    throw unmappedOwner(uid, gid, err) ?? err;
  }
}

/** Changes the owner of an open file; see `lchownSync`. */
export function fchownSync(fd: number, uid: number, gid: number): void {
  try {
    fs.fchownSync(fd, uid, gid);
  } catch (err) {
    throw unmappedOwner(uid, gid, err) ?? err;
  }
}

function unmappedOwner(uid: number, gid: number, cause: unknown) {
  return errnoCode(cause) === 'EINVAL' && inUserNamespace() ? noSuchOwner(uid, gid, cause) : undefined;
}

/** Throws `unsupported` for a user or groups that this process's user namespace does not have. */
export function checkOwner(uid: number, gids: readonly number[]): void {
  const missing = gids.find((gid) => !hasId('group', gid));
  if (hasId('user', uid) && missing === undefined) return;
  throw noSuchOwner(uid, missing ?? gids[0] ?? 0);
}

function noSuchOwner(uid: number, gid: number, cause?: unknown) {
  return fail('unsupported', 'host', `user ${uid} or group ${gid} is not in this user namespace`, {
    cause,
    hint: 'Give the user a longer range in /etc/subuid and /etc/subgid (65536 users reach to 65536), or build as root.',
  });
}
