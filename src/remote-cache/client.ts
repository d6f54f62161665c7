/** What the client of a build does about its caches. */
import type { CacheSpec } from './types.ts';

/** Caches as the builder is told of them. */
export interface ClientCaches {
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
 * Makes the folders of caches absolute and finds the digests that their tags stand for, and completes caches of GitHub's
 * Actions from the variables of the job. The build itself tells of a folder without a cache.
 */
export async function clientCaches(
  from: readonly CacheSpec[],
  to: readonly CacheSpec[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<ClientCaches> {
  // Most builds name none.
  if (from.length + to.length === 0) return { from: [], to: [], stores: {}, finish: async () => {} };
  return (await import('./client-folders.ts')).completedCaches(from, to, env);
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
