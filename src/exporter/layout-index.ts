/** The index of an OCI layout in a folder whose blobs came by another way. */
import { mkdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';
import { readOrdinary } from '../linux/index.ts';
import {
  type Descriptor,
  fullNameAnnotation,
  type Index,
  layoutMark,
  mediaTypes,
  refNameAnnotation,
} from '../oci/index.ts';

/** The largest index, in bytes. */
const maxIndex = 64 << 20;

/** The index of a layout; undefined where there is none. Throws `corrupt`. */
export async function readLayoutIndex(dir: string): Promise<Index | undefined> {
  const path = join(dir, 'index.json');
  let text: string;
  try {
    text = (await readOrdinary(path, maxIndex)).toString('utf8');
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return undefined;
    throw err;
  }
  try {
    const index = JSON.parse(text) as Index | null;
    if (Array.isArray(index?.manifests)) return index;
  } catch {
    // Said below.
  }
  throw fail('corrupt', 'export', `${path} is not an OCI index`, {
    hint: 'Choose another folder, or remove it.',
  });
}

/** Puts manifests into the index of a layout. They take the place of those with their names. Throws `corrupt`. */
export async function nameInLayout(dir: string, added: readonly Descriptor[]): Promise<void> {
  await editLayout(dir, (manifests) => [
    ...manifests.filter((entry) => !added.some((other) => sameEntry(entry, other))),
    ...added,
  ]);
}

/** Writes the index of a layout anew, with what `edit` makes of its manifests. Throws `corrupt`. */
export async function editLayout(
  dir: string,
  edit: (manifests: readonly Descriptor[]) => Descriptor[],
): Promise<void> {
  const { manifests = [] } = (await readLayoutIndex(dir)) ?? {};
  const index: Index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: edit(manifests) };
  await mkdir(dir, { recursive: true });
  const mark = JSON.stringify(layoutMark);
  await replaceFile(join(dir, 'oci-layout'), (part) => writeFile(part, mark));
  await replaceFile(join(dir, 'index.json'), (part) => writeFile(part, JSON.stringify(index)));
}

/** Whether a new entry takes an old one's place: they have one name, or are the same image without a name. */
function sameEntry(a: Descriptor, b: Descriptor): boolean {
  const name = ({ annotations }: Descriptor) =>
    annotations?.[fullNameAnnotation] ?? annotations?.[refNameAnnotation];
  return name(a) === name(b) && (name(a) !== undefined || a.digest === b.digest);
}

/**
 * Writes a whole file under another name first, and then moves it into place. A symlink stays, and the file behind it
 * is replaced. Throws `invalid` where something other than a file is.
 */
export async function replaceFile(path: string, write: (part: string) => Promise<void>): Promise<void> {
  const target = await realpath(path).catch((err) => {
    if (errnoCode(err) !== 'ENOENT') throw err;
    return path;
  });
  if ((await stat(target).catch(() => undefined))?.isFile() === false) {
    throw fail('invalid', 'export', `${path} is not replaced: it is no regular file`, {
      hint: 'Choose another folder, or remove it.',
    });
  }
  const part = `${target}.${process.pid}.part`;
  try {
    await write(part);
    await rename(part, target);
  } catch (err) {
    await rm(part, { force: true });
    throw err;
  }
}
