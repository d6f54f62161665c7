/** The folder of a root: everything below it belongs to the daemon alone. */
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail } from '../../errors/index.ts';
import { closeToOthers } from '../../linux/index.ts';

/** Everything directly below a root that an older version, or a umask, may have left open to other users. */
const folders =
  'blobs snapshots ingest run notes cache-mounts git sync http images-seen refs-seen executor containerd'.split(
    ' ',
  );
const databases = 'store.db cache.db stat.db history.db explain.db lists.db'.split(' ');
const files = ['store.db.reserve', 'reserve', 'workerid', 'containerd.json', join('daemon', 'pid')];

/**
 * Makes a root's folder, or closes an existing one to other users. They may pass through the root itself, since the
 * daemon's socket may be in it (`daemon/`), and can reach nothing else: folders below it are 0700, files 0600.
 */
export function ownRoot(root: string): void {
  try {
    mkdirSync(root, { recursive: true, mode: 0o711 });
  } catch (err) {
    if (errnoCode(err) !== 'EACCES' && errnoCode(err) !== 'ENOTDIR' && errnoCode(err) !== 'EEXIST') throw err;
    throw fail('denied', 'store', `the folder ${root} cannot be made (${errnoCode(err)})`, {
      hint: 'Choose another folder with --root (or $DRYDOCK_ROOT).',
      cause: err,
    });
  }
  const { mode, uid } = statSync(root);
  // Other users who may write there could put their folders in place of ours.
  if ((mode & 0o022) !== 0 && (mode & 0o1000) === 0 && uid === process.geteuid?.()) {
    chmodSync(root, mode & 0o7755);
  }
  const parts = databases.flatMap((name) => [name, `${name}-wal`, `${name}-shm`]);
  for (const name of [...folders, ...parts, ...files]) closeToOthers(join(root, name));
}
