/** Work on files as another user, with all rights that this process has. */
import { fault, fns } from './call.ts';

const version3 = 0x20080522;

/**
 * Runs `body` with another user and group as the ones that files are made by (setfsuid(2)). They hold for the calling
 * thread alone, which keeps its capabilities. Throws a Node-style error when the user cannot be had.
 */
export function asFileOwner<T>({ uid, gid }: { uid: number; gid: number }, body: () => T): T {
  const [ownUid, ownGid] = [process.geteuid?.() ?? 0, process.getegid?.() ?? 0];
  try {
    fns.setfsgid(gid);
    fns.setfsuid(uid);
    // With root's number the capabilities for files went.
    const header = Buffer.alloc(8);
    header.writeUInt32LE(version3, 0);
    const sets = Buffer.alloc(24);
    if (fns.capget(header, sets) !== 0) throw fault('capget');
    for (const at of [0, 12]) sets.writeUInt32LE(sets.readUInt32LE(at + 4), at);
    if (fns.capset(header, sets) !== 0) throw fault('capset');
    return body();
  } finally {
    fns.setfsuid(ownUid);
    fns.setfsgid(ownGid);
  }
}
