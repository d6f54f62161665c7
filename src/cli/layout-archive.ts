/** An OCI layout in a folder as a tar, and back. */
import { mkdir, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { runTask } from '../workers/index.ts';

/** Writes a folder as a tar. `temp` is a folder for a file on the way. */
export async function packLayoutFolder(
  folder: string,
  file: string,
  temp: string,
  signal: AbortSignal,
): Promise<void> {
  const path = resolve(file);
  const layer = { kind: 'since', dir: folder, out: resolve(temp, 'list') } as const;
  await rm(path, { force: true });
  const compression = { type: 'uncompressed' } as const;
  await runTask('layer.pack', { layer, compression, sink: { kind: 'file', path } }, { signal });
}

/** Unpacks a tar into a new folder. Throws `corrupt` for what is none. */
export async function unpackLayoutFolder(file: string, folder: string, signal: AbortSignal): Promise<void> {
  await mkdir(folder, { recursive: true });
  const args = { source: { path: resolve(file) }, dir: folder, form: 'tree', devices: false } as const;
  await runTask('layer.unpack', args, { signal });
}
