/**
 * Cache mounts: folders that steps share between builds (`RUN --mount=type=cache`). They are in no snapshot and no
 * layer.
 */
import { DrydockError, fail } from '../../errors/index.ts';
import type { HeldFolder, KeptFolders, KeptKey } from '../../kept/index.ts';
import type { Session } from '../../session/index.ts';

export type Sharing = 'shared' | 'private' | 'locked';

export interface CacheMountRequest {
  id: string;
  /** The owner of the cache; undefined: it is everybody's. */
  owner?: string;
  sharing: Sharing;
  /** Fills the empty folder of a new instance. Caches that are seeded with different `key`s are different ones. */
  seed?: { key: string; fill(dir: string): Promise<void> };
}

export interface HeldCacheMount {
  /** The folder on this host, to be mounted. */
  path: string;
  release(): void;
}

/** The owner of a build's cache mounts; undefined: they are everybody's. */
export function cacheMountOwner({ tenant }: Pick<Session, 'tenant'>): string | undefined {
  return tenant === undefined || tenant.sharesCacheMounts ? undefined : tenant.id;
}

/**
 * Empties an owner's caches of these ids, however they were seeded. An instance that a step has right now stays as it
 * is.
 */
export async function emptyCacheMounts(
  caches: KeptFolders,
  owner: string | undefined,
  ids: ReadonlySet<string>,
): Promise<void> {
  if (ids.size === 0) return;
  await caches.removeNamed(
    owner,
    (name) => ids.has(name) || ids.has(name.replace(/:sha256:[0-9a-f]{64}$/, '')),
  );
}

/** What names a cache's folder. */
export function keptKey({ id, owner, seed }: Pick<CacheMountRequest, 'id' | 'owner' | 'seed'>): KeptKey {
  return { key: seed === undefined ? id : `${id}:${seed.key}`, owner };
}

/**
 * Takes a cache for a step. It is shared with others, an instance for the step alone, or locked by one step after the
 * other. Waits for a locked one; throws `canceled` when the signal fires.
 */
export async function takeCacheMount(
  caches: KeptFolders,
  { id, owner, sharing, seed }: CacheMountRequest,
  signal: AbortSignal,
): Promise<HeldCacheMount> {
  const key = keptKey({ id, owner, seed });
  let held: HeldFolder | undefined;
  try {
    held =
      sharing === 'private'
        ? caches.claim(key)
        : await caches.take(key, { shared: sharing === 'shared', signal });
    const taken = held;
    const path = await held.data({ mode: 0o755, fill: seed?.fill });
    return { path, release: () => taken.release() };
  } catch (cause) {
    held?.release();
    if (cause instanceof DrydockError && cause.code === 'canceled') throw cause;
    throw fail('internal', 'exec', `cannot set up cache mount ${id}`, { cause });
  }
}
