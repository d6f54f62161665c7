/** `reset=true` of a cache in a folder: what no manifest in the folder's index needs is removed. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readLayoutIndex } from '../exporter/index.ts';
import { blobsIn, blobsNamed } from './folder-blobs.ts';

/**
 * Removes the blobs of a folder that no manifest in its index names, directly or not. Nothing is removed when one of the
 * documents cannot be read: what they need is not known then. Throws the error of reading.
 */
export async function resetFolder(dir: string): Promise<void> {
  const index = await readLayoutIndex(dir);
  if (index === undefined) return;
  const needed = await blobsNamed(
    dir,
    index.manifests.map(({ digest }) => digest),
  );
  for (const name of await blobsIn(dir)) {
    if (!needed.has(name)) await rm(join(dir, 'blobs', 'sha256', name), { force: true });
  }
}
