/** Writes an OCI layout into a folder. Images that are there stay; a name that is there moves to the new image. */
import { constants, createWriteStream } from 'node:fs';
import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoCode, throwIfAborted } from '../errors/index.ts';
import type { Descriptor, Index } from '../oci/index.ts';
import type { LayoutFile } from './archive.ts';
import { nameInLayout, replaceFile } from './layout-index.ts';
import type { ExportContext } from './types.ts';

/**
 * Writes the files: the blobs first and the index after them, so that a reader never finds an entry without its blobs.
 */
export async function writeLayoutFolder(
  dir: string,
  files: readonly LayoutFile[],
  ctx: ExportContext,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  // One by one: a recursive mkdir says ENOENT of a disk that is read-only.
  for (const path of ['blobs', 'blobs/sha256']) {
    await mkdir(join(dir, path)).catch((err) => {
      if (errnoCode(err) !== 'EEXIST') throw err;
    });
  }
  const documents: (LayoutFile & { data: Buffer })[] = [];
  for (const file of files) {
    throwIfAborted(ctx.signal);
    if ('data' in file) documents.push(file);
    else await writeBlob(join(dir, file.path), file.blob, ctx);
  }
  for (const { path, data } of documents) {
    if (path === 'index.json')
      await nameInLayout(dir, (JSON.parse(data.toString('utf8')) as Index).manifests);
    // What makes the folder a layout comes with its index.
    else if (path !== 'oci-layout') await replaceFile(join(dir, path), (part) => writeFile(part, data));
  }
}

async function writeBlob(
  path: string,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  { store, signal }: ExportContext,
): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isFile() && there.size === blob.size) return;
  const local = await store.content.localPath?.(blob.digest);
  await replaceFile(path, async (part) => {
    if (local !== undefined) await copyFile(local, part, constants.COPYFILE_FICLONE);
    else await pipeline(await store.content.read(blob.digest), createWriteStream(part), { signal });
  });
}
