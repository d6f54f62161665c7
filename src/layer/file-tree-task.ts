/** The worker task `layer.files`: lists the files of an image's layers in a database, by layer and folder. */
import { DatabaseSync } from 'node:sqlite';
import { canceled } from '../errors/index.ts';
import { type FsEntry, openView, type ViewSpec } from '../fs/index.ts';
import { decompressFile, type TarEntry, TarParser } from '../tar/index.ts';
import type { TaskContext } from '../workers/index.ts';
import { type FileSums, FileTree, type LaidFile, type ListedFile } from './file-tree.ts';
import { type LayerItem, walkDifference, walkOverlayLayer } from './walk.ts';

/** Where a layer's files are. */
export type LayerFiles =
  | { kind: 'overlay'; dir: string; lower: ViewSpec }
  | { kind: 'difference'; lower: ViewSpec; upper: ViewSpec }
  /** A tar, compressed or not. */
  | { kind: 'tar'; path: string }
  /** Neither unpacked nor in content. */
  | { kind: 'missing' };

interface ListArgs {
  /** The lowest first. */
  layers: LayerFiles[];
  /** The database to make. */
  file: string;
}

/** The lines of a folder's list that lie in one row. */
export const linesInRow = 500;

const schema = `
  PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
  CREATE TABLE lists (layer INTEGER, folder TEXT, part INTEGER, lines INTEGER, json TEXT,
    PRIMARY KEY (layer, folder, part)) WITHOUT ROWID;`;

/** Lists the layers; tells what each has in all, or undefined of one that is not here. Throws `canceled`, `corrupt`, `exhausted`. */
export async function listFiles(
  { layers, file }: ListArgs,
  ctx: TaskContext,
): Promise<(FileSums | undefined)[]> {
  const tree = new FileTree();
  for (const [i, layer] of layers.entries()) await lay(tree, i, layer, ctx);
  const db = new DatabaseSync(file);
  try {
    db.exec(schema);
    db.exec('BEGIN');
    const insert = db.prepare('INSERT INTO lists VALUES (?, ?, ?, ?, ?)');
    const put = (layer: number, folder: string, files: ListedFile[]) => {
      if (ctx.aborted()) throw canceled();
      for (let at = 0; at < files.length; at += linesInRow) {
        const lines = files.slice(at, at + linesInRow);
        insert.run(layer, folder, at / linesInRow, files.length, JSON.stringify(lines));
      }
    };
    const sums = layers.map(({ kind }, i) => {
      const lists = tree.listed(i);
      for (let next = lists.next(); ; next = lists.next()) {
        if (next.done) return kind === 'missing' ? undefined : next.value;
        put(i, next.value.folder, next.value.files);
      }
    });
    db.exec('COMMIT');
    return sums;
  } finally {
    db.close();
  }
}

async function lay(tree: FileTree, i: number, layer: LayerFiles, ctx: TaskContext): Promise<void> {
  if (layer.kind === 'missing') return;
  if (layer.kind === 'tar') {
    const parser = new TarParser(
      { entry: (entry) => layEntry(tree, i, entry), data: () => {}, end: () => {} },
      { hop: 'store' },
    );
    for await (const chunk of decompressFile(layer.path, { hop: 'store' })) {
      if (ctx.aborted()) throw canceled();
      parser.push(chunk);
    }
    parser.finish();
    return;
  }
  const items =
    layer.kind === 'overlay'
      ? walkOverlayLayer(layer.dir, openView(layer.lower))
      : walkDifference(openView(layer.lower), openView(layer.upper));
  const links = new Map<string, string>();
  for (const item of items) {
    if (ctx.aborted()) throw canceled();
    layItem(tree, i, item, links);
  }
}

/** Of a file with several names, the first one counts its bytes. */
function layItem(tree: FileTree, i: number, item: LayerItem, links: Map<string, string>): void {
  if (item.kind !== 'entry') {
    if (item.kind === 'opaque') tree.clear(i, item.path.slice(1));
    else tree.remove(i, item.path.slice(1));
    return;
  }
  const { path, type, size, mode, uid, gid, link, nlink, dev, ino } = item.entry satisfies FsEntry;
  const file: LaidFile = { type, size, mode, uid, gid, link };
  if (type === 'file' && nlink > 1) {
    const inode = `${dev}:${ino}`;
    const first = links.get(inode);
    if (first === undefined) links.set(inode, path);
    else Object.assign(file, { size: 0, link: first });
  }
  tree.put(i, path.slice(1), file);
}

function layEntry(tree: FileTree, i: number, entry: TarEntry): void {
  const { path, type, size, mode, uid, gid, link } = entry;
  // What would lead out of the image is not unpacked either.
  if (path.split('/').includes('..')) return;
  const slash = path.lastIndexOf('/') + 1;
  const [folder, name] = [path.slice(0, Math.max(0, slash - 1)), path.slice(slash)];
  if (name.startsWith('.wh.')) {
    if (name === '.wh..wh..opq') tree.clear(i, folder);
    else if (!name.startsWith('.wh..wh.')) tree.remove(i, `${path.slice(0, slash)}${name.slice(4)}`);
    return;
  }
  const isLink = type === 'hardlink';
  const target = isLink && link !== undefined ? `/${link}` : link;
  tree.put(i, path, {
    type: isLink ? 'file' : type,
    size: type === 'file' ? size : 0,
    ...{ mode, uid, gid, link: target },
  });
}
