/** An OCI layout in a folder: what is there already stays, a name that is there moves. */
import { constants, createWriteStream } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errnoCode, fail, throwIfAborted } from '../errors/error.ts';
import type { Descriptor, Index } from '../oci/types.ts';
import type { LayoutFile } from './archive.ts';
import type { ExportContext } from './types.ts';

const refName = 'org.opencontainers.image.ref.name';
const fullName = 'io.containerd.image.name';

/** Writes the files; blobs first, then the index, so that a reader never finds an entry without its blobs. */
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
    const merged = path === 'index.json' ? await mergeIndex(join(dir, path), data) : data;
    await replace(join(dir, path), (part) => writeFile(part, merged));
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
  await replace(path, async (part) => {
    if (local !== undefined) await copyFile(local, part, constants.COPYFILE_FICLONE);
    else await pipeline(await store.content.read(blob.digest), createWriteStream(part), { signal });
  });
}

/** Makes a file whole under another name first. */
async function replace(path: string, write: (part: string) => Promise<void>): Promise<void> {
  const part = `${path}.${process.pid}.part`;
  try {
    await write(part);
    await rename(part, path);
  } catch (err) {
    await rm(part, { force: true });
    throw err;
  }
}

async function mergeIndex(path: string, data: Buffer): Promise<Buffer> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return data;
    throw err;
  }
  const mine = JSON.parse(data.toString('utf8')) as Index;
  let old: Partial<Index> | undefined;
  try {
    old = JSON.parse(text) as Partial<Index> | undefined;
  } catch (cause) {
    throw fail('corrupt', 'export', `${path} is not an OCI index`, {
      hint: 'Choose another folder, or remove it.',
      cause,
    });
  }
  const kept = (Array.isArray(old?.manifests) ? old.manifests : []).filter(
    (entry) => !mine.manifests.some((other) => sameEntry(entry, other)),
  );
  return Buffer.from(JSON.stringify({ ...mine, manifests: [...kept, ...mine.manifests] }));
}

/** Whether a new entry takes an old one's place: the same name, or the same nameless image. */
function sameEntry(a: Descriptor, b: Descriptor): boolean {
  const name = (entry: Descriptor) => entry.annotations?.[fullName] ?? entry.annotations?.[refName];
  return name(a) === name(b) && (name(a) !== undefined || a.digest === b.digest);
}
