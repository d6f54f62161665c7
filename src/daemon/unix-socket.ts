/** A unix socket that appears under its path only when it may be used, with its mode and group. */
import { chmodSync, chownSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';
import { systemAccounts } from '../auth/index.ts';
import { errnoCode, fail } from '../errors/index.ts';
import { idInside, rootlessUser } from '../linux/index.ts';

/** The socket's mode: everyone in its group may connect, and the policy says what they may do then. */
const mode = 0o660;
/** The mode of a socket that has no group besides the daemon's user. */
const ownMode = 0o600;
/** The number of no group. */
const noGroup = -1;

export interface BoundSocket {
  gid: number;
  /** Removes the path, unless someone else has put another socket there. */
  remove(): void;
}

/**
 * Lets a server listen on a path. A socket that a dead daemon left there is replaced. Throws `conflict` when someone
 * listens there, `exists` when something else than a socket is there, `denied` where the path cannot be made.
 */
export async function listenUnix(server: Server, path: string, gid: number): Promise<BoundSocket> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    await refuseTaken(path);
    // Bound beside and moved into place: nobody can connect before mode and group are right, and a stale socket is
    // replaced in one step.
    const temporary = `${path}.${process.pid.toString(36)}`;
    rmSync(temporary, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: temporary }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    chownSync(temporary, -1, gid === noGroup ? noGroup : groupInside(gid));
    chmodSync(temporary, gid === noGroup ? ownMode : mode);
    renameSync(temporary, path);
  } catch (err) {
    const code = errnoCode(err);
    if (code === undefined || (err instanceof Error && err.name === 'DrydockError')) throw err;
    const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
    throw fail(denied ? 'denied' : 'invalid', 'host', `cannot listen on ${path} (${code})`, {
      cause: err,
      hint: denied ? 'Run as a user who may write there, or name another path with --host.' : undefined,
    });
  }
  const { ino } = lstatSync(path);
  return {
    gid,
    remove() {
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
    },
  };
}

async function refuseTaken(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw fail('exists', 'host', `${path} is there and is no socket`, {
      hint: 'Remove it, or name another path with --host.',
    });
  }
  if (await answers(path)) {
    throw fail('conflict', 'host', `another process listens on ${path}`, {
      hint: 'Stop it, or name another path with --host.',
    });
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (taken: boolean) => {
      socket.destroy();
      resolve(taken);
    };
    socket.once('connect', () => end(true));
    // A full backlog (EAGAIN) is someone's, too.
    socket.once('error', (err) => end(errnoCode(err) !== 'ECONNREFUSED' && errnoCode(err) !== 'ENOENT'));
  });
}

/** The number of one of the machine's groups in this process's namespace. Throws `unsupported` when it is not there. */
function groupInside(gid: number): number {
  const inside = idInside('group', gid);
  if (inside !== undefined) return inside;
  throw fail(
    'unsupported',
    'host',
    `the socket cannot belong to group ${gid}, which is not in this user namespace`,
    {
      hint: 'A rootless daemon serves its own user: leave --group out.',
    },
  );
}

/**
 * The id of a group, by name or number. Default: root's own group; no group for a daemon of another user, whose group
 * may be that of all users of a machine. Throws `not-found`.
 */
export function groupId(group: string | undefined): number {
  if (group === undefined || group === '')
    return rootlessUser() === undefined ? (process.getegid?.() ?? 0) : noGroup;
  if (/^\d+$/.test(group)) return Number(group);
  const gid = systemAccounts().gidOf(group);
  if (gid !== undefined) return gid;
  throw fail('not-found', 'host', `there is no group ${group} on this machine`, {
    hint: `Make it with \`groupadd --system ${group}\`, or name another with --group.`,
  });
}
