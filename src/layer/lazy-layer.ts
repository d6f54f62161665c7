/** Makes a layer whose files are fetched when they are read. */
import { fail } from '../errors/index.ts';
import { type Mount, specOfMounts } from '../fs/index.ts';
import type { Descriptor } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { runTask } from '../workers/index.ts';
import type { PackedToc } from './chunked/toc-place.ts';

/**
 * Writes the files of `blob`, without their contents, into the mounts of the active snapshot `key`, by the table of
 * contents. Reads of them fetch the contents from then on, from the repository of `source`. The caller removes the
 * snapshot when this throws: `corrupt` for a table with another digest than the manifest names, `unsupported` for one
 * that does not tell enough.
 */
export async function makeLazyLayer(
  store: Store,
  { key, mounts, toc }: { key: string; mounts: readonly Mount[]; toc: PackedToc },
  { source, blob }: { source: string; blob: Descriptor },
  { signal }: { signal?: AbortSignal },
): Promise<void> {
  const spec = specOfMounts(mounts);
  if (store.lazy === undefined || spec.kind !== 'layers' || spec.dirs[0] === undefined) {
    throw fail('internal', 'store', 'this store has no lazy layers');
  }
  const [dir, ...lower] = spec.dirs;
  const table = await store.lazy.begin(key);
  const { digest, size } = blob;
  await runTask(
    'layer.skeleton',
    { toc, dir, lower: { kind: 'layers', dirs: lower }, table, blob: { source, blob: { digest, size } } },
    { signal },
  );
}
