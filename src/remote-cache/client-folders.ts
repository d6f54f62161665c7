/**
 * The client's side of caches in its own folders: it says which manifest of a folder is meant, and what is in the
 * folder afterwards, as docker buildx and buildctl do.
 */
import { resolve } from 'node:path';
import { nameInLayout, readLayoutIndex } from '../exporter/index.ts';
import { type Descriptor, refNameAnnotation } from '../oci/index.ts';
import { parseBool } from '../words/index.ts';
import type { ClientCaches } from './client.ts';
import { type KeepRule, readKeep } from './keeping/rule.ts';
import { withActions } from './shelf/gha-place.ts';
import type { CacheSpec } from './types.ts';

/**
 * The key, with the folder's name behind it, of the manifest that a build has written into a folder, in the build's
 * metadata.
 */
export const folderManifest = 'drydock.cache.manifest.';

/** Completes caches, of which there are some (see `clientCaches`). */
export async function completedCaches(
  from: readonly CacheSpec[],
  to: readonly CacheSpec[],
  env: NodeJS.ProcessEnv,
): Promise<ClientCaches> {
  const stores: Record<string, string> = {};
  const folder = (path: string): string => {
    const dir = resolve(path);
    stores[`local:${dir}`] = dir;
    return dir;
  };
  const imports = await Promise.all(
    from.map(async (spec): Promise<CacheSpec> => {
      const { type, attrs } = withActions(spec, env);
      if (type !== 'local' || !attrs.src) return { type, attrs };
      const src = folder(attrs.src);
      const digest = attrs.digest || (await taggedDigest(src, attrs.tag ?? 'latest'));
      return { type, attrs: { ...attrs, src, ...(digest === undefined ? {} : { digest }) } };
    }),
  );
  const rules = new Map<CacheSpec, KeepRule | undefined>();
  const exports = to.map((spec): CacheSpec => {
    const { type, attrs } = withActions(spec, env);
    if (type !== 'local' || !attrs.dest) return { type, attrs };
    const rule = readKeep(spec);
    // The builder writes; what goes from the folder is the client's to say, who knows its index.
    const { keep: _keep, 'max-size': _size, ...others } = attrs;
    const sent = { type, attrs: { ...others, dest: folder(attrs.dest) } };
    rules.set(sent, rule);
    return sent;
  });
  return {
    from: imports,
    to: exports,
    stores,
    async finish(metadata) {
      for (const spec of exports) {
        const { type, attrs } = spec;
        const key = `${folderManifest}${attrs.dest}`;
        const manifest = metadata[key];
        delete metadata[key];
        if (type !== 'local' || attrs.dest === undefined || typeof manifest !== 'string') continue;
        const name = attrs.tag ?? 'latest';
        const written = JSON.parse(manifest) as Descriptor;
        const rule = rules.get(spec);
        if (rule !== undefined) {
          await (await import('./keeping/folder.ts')).keepInFolder(attrs.dest, name, written, rule);
          continue;
        }
        await nameInLayout(attrs.dest, [{ ...written, annotations: { [refNameAnnotation]: name } }]);
        if (parseBool(attrs.reset ?? '')) await (await import('./reset-folder.ts')).resetFolder(attrs.dest);
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
