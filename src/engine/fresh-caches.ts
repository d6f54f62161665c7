/** Cache mounts of steps that must not come from the cache: as in BuildKit, they are emptied before the step runs. */
import { keptUnder } from '../kept/index.ts';
import { MountType } from '../llb/index.ts';
import { cacheId, cacheMountOwner, emptyCacheMounts } from '../ops/index.ts';
import type { Job, Vertex } from '../solver/index.ts';
import type { Store } from '../store/index.ts';

/**
 * Empties the cache mounts of the steps that have `ignoreCache`, each mount once in a build. Instances that other
 * builds are using stay as they are.
 */
export async function emptyIgnoredCaches(store: Store, job: Job, vertices: readonly Vertex[]): Promise<void> {
  const ids = new Set<string>();
  const { emptiedCaches: before } = job;
  for (const { op, metadata } of vertices) {
    if (op.op.case !== 'exec' || !metadata?.ignoreCache) continue;
    for (const mount of op.op.value.mounts) {
      if (mount.mountType !== MountType.CACHE || before.has(cacheId(mount))) continue;
      ids.add(cacheId(mount));
      before.add(cacheId(mount));
    }
  }
  if (ids.size === 0) return;
  await emptyCacheMounts(keptUnder(store.root).cacheMounts, cacheMountOwner(job.session), ids);
}
