/** Lists the files of layers that lie one on another, from their snapshots or else from their blobs. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { throwIfAborted } from '../errors/index.ts';
import { specOfMounts } from '../fs/index.ts';
import { closeFd, openSync, rmSync, writeAll } from '../linux/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import { hold, type SnapshotInfo, type Store } from '../store/index.ts';
import { runTask } from '../workers/index.ts';
import type { FileSums, ListedFile } from './file-tree.ts';
import { type LayerFiles, linesInRow } from './file-tree-task.ts';

interface LayerPlace {
  descriptor: Descriptor;
  snapshot?: SnapshotInfo;
}

interface ListOptions {
  /** The database of lists, a new file. It is removed when something goes wrong. */
  file: string;
  lease: string;
  signal?: AbortSignal;
}

/**
 * Lists what each of an image's layers (lowest first) adds, changes and removes. Tells what each has in all; undefined
 * of a layer that is neither unpacked nor in content. Throws `corrupt`, `exhausted` for more than a million paths,
 * `canceled`.
 *
 *     const sums = await listLayers(store, layers, { file, lease });
 *     listedFolder(file, { layer: 1, folder: '/etc', from: 0, count: 100 }).files[0]; // { name: 'passwd', state: 'changed', … }
 */
export async function listLayers(
  store: Store,
  layers: readonly LayerPlace[],
  { file, lease, signal }: ListOptions,
): Promise<(FileSums | undefined)[]> {
  const done: (() => unknown)[] = [];
  try {
    const places: LayerFiles[] = [];
    for (const layer of layers) {
      throwIfAborted(signal);
      places.push(await placeOf(store, layer, lease, done));
    }
    return await runTask('layer.files', { layers: places, file }, { signal });
  } catch (err) {
    rmSync(file, { force: true });
    throw err;
  } finally {
    await Promise.all(done.map(async (end) => end()));
  }
}

/** Where a layer's files are. `done` gets what is to be done after the use. */
async function placeOf(
  store: Store,
  { descriptor, snapshot }: LayerPlace,
  lease: string,
  done: (() => unknown)[],
): Promise<LayerFiles> {
  const { content, snapshots, snapshotter, runDir } = store;
  if (snapshot?.kind === 'committed' && (await snapshots.intact(snapshot.key))) {
    const view = await snapshots.view(snapshot.key);
    done.push(() => view.release());
    const upper = specOfMounts(view.mounts);
    const [dir, ...lower] = upper.kind === 'layers' ? upper.dirs : [];
    if (snapshotter !== 'native' && dir !== undefined)
      return { kind: 'overlay', dir, lower: { kind: 'layers', dirs: lower } };
    if (snapshot.parent === undefined) return { kind: 'difference', lower: { kind: 'empty' }, upper };
    const below = await snapshots.view(snapshot.parent);
    done.push(() => below.release());
    return { kind: 'difference', lower: specOfMounts(below.mounts), upper };
  }
  if (!(await hold(store, lease, { type: 'blob', id: descriptor.digest }))) return { kind: 'missing' };
  const local = await content.localPath?.(descriptor.digest);
  if (local !== undefined) return { kind: 'tar', path: local };
  const path = join(runDir, `layer-${randomUUID()}`);
  done.push(() => rmSync(path, { force: true }));
  await copyBlob(store, descriptor.digest, path);
  return { kind: 'tar', path };
}

/** Copies a blob of a store whose blobs are not files here. */
async function copyBlob({ content }: Store, digest: Digest, path: string): Promise<void> {
  const fd = openSync(path, 'wx', 0o600);
  try {
    for await (const chunk of (await content.read(digest)) as AsyncIterable<Buffer>) writeAll(fd, chunk);
  } finally {
    closeFd(fd);
  }
}

/** The lines `from` … of a folder's list in a layer (from 0), and how many there are. */
export function listedFolder(
  file: string,
  { layer, folder, from, count }: { layer: number; folder: string; from: number; count: number },
): { total: number; files: ListedFile[] } {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    const first = Math.floor(from / linesInRow);
    const rows = db
      .prepare(
        'SELECT lines, json FROM lists WHERE layer = ? AND folder = ? AND part BETWEEN ? AND ? ORDER BY part',
      )
      .all(layer, folder, first, Math.floor((from + count - 1) / linesInRow));
    const files = rows.flatMap(({ json }) => JSON.parse(String(json)) as ListedFile[]);
    const at = from - first * linesInRow;
    return { total: Number(rows[0]?.lines ?? 0), files: files.slice(at, at + count) };
  } finally {
    db.close();
  }
}
