/**
 * The client's side of caches in its own folders: it says which manifest of a folder is meant, and what is in the
 * folder afterwards, as docker buildx and buildctl do.
 */
import { resolve } from 'node:path';
import { nameInLayout, readLayoutIndex } from '../exporter/index.ts';
import { type Descriptor, refNameAnnotation } from '../oci/index.ts';
import type { CacheSpec } from './types.ts';

/**
 * The key, with the folder's name behind it, of the manifest that a build has written into a folder, in the build's
 * metadata.
 */
export const folderManifest = 'drydock.cache.manifest.';

interface ClientCaches {
  from: CacheSpec[];
  to: CacheSpec[];
  /** The stores of the session: `local:FOLDER` → folder. */
  stores: Record<string, string>;
  /**
   * Names in the folders what the build has written there, and takes the entries that only this needs out of the
   * build's metadata.
   */
  finish(metadata: Record<string, unknown>): Promise<void>;
}

/**
 * Makes the folders absolute and finds the digests that their tags stand for. The build itself tells of a folder
 * without a cache.
 */
export async function clientCaches(
  from: readonly CacheSpec[],
  to: readonly CacheSpec[],
): Promise<ClientCaches> {
  const stores: Record<string, string> = {};
  const folder = (path: string): string => {
    const dir = resolve(path);
    stores[`local:${dir}`] = dir;
    return dir;
  };
  const imports = await Promise.all(
    from.map(async ({ type, attrs }): Promise<CacheSpec> => {
      if (type !== 'local' || !attrs.src) return { type, attrs };
      const src = folder(attrs.src);
      const digest = attrs.digest || (await taggedDigest(src, attrs.tag ?? 'latest'));
      return { type, attrs: { ...attrs, src, ...(digest === undefined ? {} : { digest }) } };
    }),
  );
  const exports = to.map(({ type, attrs }): CacheSpec => {
    if (type !== 'local' || !attrs.dest) return { type, attrs };
    return { type, attrs: { ...attrs, dest: folder(attrs.dest) } };
  });
  return {
    from: imports,
    to: exports,
    stores,
    async finish(metadata) {
      for (const { type, attrs } of exports) {
        const key = `${folderManifest}${attrs.dest}`;
        const manifest = metadata[key];
        delete metadata[key];
        if (type !== 'local' || attrs.dest === undefined || typeof manifest !== 'string') continue;
        const annotations = { [refNameAnnotation]: attrs.tag ?? 'latest' };
        await nameInLayout(attrs.dest, [{ ...(JSON.parse(manifest) as Descriptor), annotations }]);
      }
    },
  };
}

async function taggedDigest(dir: string, tag: string): Promise<string | undefined> {
  const index = await readLayoutIndex(dir).catch(() => undefined);
  const { manifests = [] } = index ?? {};
  const named = manifests.find(({ annotations }) => annotations?.[refNameAnnotation] === tag);
  return (named ?? (manifests.length === 1 && tag === 'latest' ? manifests[0] : undefined))?.digest;
}
