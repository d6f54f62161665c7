/**
 * The client's side of caches in folders of its own: which manifest of a folder is meant, and what is in the folder
 * afterwards. As docker buildx and buildctl do it.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errnoCode, fail } from '../errors/error.ts';
import { type Descriptor, type Index, mediaTypes } from '../oci/types.ts';
import type { CacheSpec } from './types.ts';

const refName = 'org.opencontainers.image.ref.name';
/** In a build's metadata, with the folder's name: the manifest that was written into it. */
export const folderManifest = 'drydock.cache.manifest.';

export interface ClientCaches {
  from: CacheSpec[];
  to: CacheSpec[];
  /** The session's stores: `local:FOLDER` → folder. */
  stores: Record<string, string>;
  /** Names in the folders what the build has written there; takes what only we need out of its metadata. */
  finish(metadata: Record<string, unknown>): Promise<void>;
}

/** Makes folders absolute and finds the digests that tags stand for. A folder without a cache is left to the build to tell. */
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
        await nameInFolder(attrs.dest, attrs.tag ?? 'latest', JSON.parse(manifest) as Descriptor);
      }
    },
  };
}

async function taggedDigest(dir: string, tag: string): Promise<string | undefined> {
  const index = await readIndex(dir).catch(() => undefined);
  const { manifests = [] } = index ?? {};
  const named = manifests.find(({ annotations }) => annotations?.[refName] === tag);
  return (named ?? (manifests.length === 1 && tag === 'latest' ? manifests[0] : undefined))?.digest;
}

/** Undefined where there is none. Throws `corrupt`. */
async function readIndex(dir: string): Promise<Index | undefined> {
  const path = join(dir, 'index.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
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
  throw fail('corrupt', 'client', `${path} is not an OCI index`, {
    hint: 'Choose another folder, or remove it.',
  });
}

/** Puts a manifest into a layout's index; what had its name loses it. */
async function nameInFolder(dir: string, tag: string, manifest: Descriptor): Promise<void> {
  const { manifests = [] } = (await readIndex(dir)) ?? {};
  const others = manifests.filter(
    ({ digest, annotations }) => annotations?.[refName] !== tag && digest !== manifest.digest,
  );
  const index: Index = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [...others, { ...manifest, annotations: { [refName]: tag } }],
  };
  await mkdir(dir, { recursive: true });
  await replace(join(dir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await replace(join(dir, 'index.json'), JSON.stringify(index));
}

async function replace(path: string, text: string): Promise<void> {
  const part = `${path}.${process.pid}.part`;
  try {
    await writeFile(part, text);
    await rename(part, path);
  } catch (err) {
    await rm(part, { force: true });
    throw err;
  }
}
