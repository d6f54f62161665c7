/**
 * The client's side of caches in its own folders: it says which manifest of a folder is meant, and what is in the
 * folder afterwards, as docker buildx and buildctl do.
 */
import { resolve } from 'node:path';
import { nameInLayout, readLayoutIndex } from '../exporter/index.ts';
import { type Descriptor, refNameAnnotation } from '../oci/index.ts';
import { parseBool } from '../words/index.ts';
import { type KeepRule, readKeep } from './keeping/rule.ts';
import { withActions } from './shelf/gha-place.ts';
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
 * Makes the folders absolute and finds the digests that their tags stand for, and completes caches of GitHub's Actions
 * from the variables of the job. The build itself tells of a folder without a cache.
 */
export async function clientCaches(
  from: readonly CacheSpec[],
  to: readonly CacheSpec[],
  env: NodeJS.ProcessEnv = process.env,
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

/**
 * The caches in S3 with this machine's keys in them, for a builder elsewhere, which has no keys for its clients; docker
 * buildx does the same. A machine without keys lends none.
 */
export async function withLentKeys(
  specs: readonly CacheSpec[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<CacheSpec[]> {
  return Promise.all(
    specs.map(async (spec) => {
      const { type, attrs } = spec;
      if (type !== 's3' || attrs.access_key_id || attrs.secret_access_key) return spec;
      const { machineKeys } = await import('../object-store/open.ts');
      const region = attrs.region || env.AWS_REGION || 'us-east-1';
      const keys = await machineKeys(region).catch(() => undefined);
      if (keys === undefined) return spec;
      const { accessKeyId, secretAccessKey, sessionToken } = keys;
      const lent: Record<string, string> = {
        ...attrs,
        access_key_id: accessKeyId,
        secret_access_key: secretAccessKey,
        ...(sessionToken === undefined ? {} : { session_token: sessionToken }),
      };
      for (const [name, variable] of Object.entries({ bucket: 'AWS_BUCKET', region: 'AWS_REGION' })) {
        if (!lent[name] && env[variable]) lent[name] = env[variable];
      }
      return { type, attrs: lent };
    }),
  );
}

async function taggedDigest(dir: string, tag: string): Promise<string | undefined> {
  const index = await readLayoutIndex(dir).catch(() => undefined);
  const { manifests = [] } = index ?? {};
  const named = manifests.find(({ annotations }) => annotations?.[refNameAnnotation] === tag);
  return (named ?? (manifests.length === 1 && tag === 'latest' ? manifests[0] : undefined))?.digest;
}
