/** Trees of one file, which was fetched to `body` in a folder that also holds an empty `tree`. */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { rawName } from '../linux/index.ts';
import { copyAll, writeSnapshot } from '../refs/index.ts';
import { type OpContext, refContext } from '../solver/index.ts';
import type { Ref } from '../store/index.ts';
import type { AttrReader } from './attrs.ts';
import type { SourceDeps } from './deps.ts';

/** The name, mode and owners that a definition gives to the file. */
export interface FileLook {
  mode: number;
  uid: number;
  gid: number;
}

/** Reads `http.perm`, `http.uid` and `http.gid`. Throws `invalid` for text that is no number. */
export function readFileLook(read: AttrReader): FileLook {
  return {
    mode: read.number('http.perm') || 0o600,
    uid: read.number('http.uid') ?? 0,
    gid: read.number('http.gid') ?? 0,
  };
}

/** Makes the folder, in this process's run folder. */
export async function fetchFolder(deps: Pick<SourceDeps, 'store'>, kind: string): Promise<string> {
  const dir = await mkdtemp(join(deps.store.runDir, `${kind}-`));
  await mkdir(join(dir, 'tree'), { mode: 0o755 });
  return dir;
}

/**
 * The tree as a snapshot, with the file's time `modified` in ms since the epoch. The folder may be removed afterwards.
 *
 *     await fileTree(deps, dir, { ...look, kind: 'http', name: 'app.tar', modified: Date.now() }, ctx)
 */
export async function fileTree(
  deps: Pick<SourceDeps, 'store' | 'refs'>,
  dir: string,
  file: FileLook & { kind: string; name: string; modified: number },
  ctx: OpContext,
): Promise<Ref> {
  await rename(join(dir, 'body'), rawName(join(dir, 'tree', file.name)));
  const id = randomUUID();
  const name = `${file.kind}-${id}`;
  const path = `/${file.name}`;
  const action = {
    ...copyAll({ kind: 'folder', dir: join(dir, 'tree'), rootOwned: true }),
    src: path,
    dest: path,
    mode: file.mode.toString(8),
    owner: { user: { id: file.uid }, group: { id: file.gid } },
    timestampNs: BigInt(file.modified) * 1_000_000n,
  };
  const what = { name, key: `${file.kind}-active-${id}`, parent: undefined, actions: [action] };
  await writeSnapshot(deps.store, what, refContext(ctx));
  return deps.refs.snapshot(name);
}
