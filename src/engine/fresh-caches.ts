/** Cache mounts of steps that must not come from the cache: they are emptied before, as in BuildKit. */
import { keptUnder } from '../kept/kept.ts';
import { MountType } from '../llb/pb.ts';
import { cacheMountOwner, emptyCacheMounts } from '../ops/exec/cache-mount.ts';
import { cacheId } from '../ops/exec/mounts.ts';
import type { Job } from '../solver/job.ts';
import type { Vertex } from '../solver/types.ts';
import type { Store } from '../store/store.ts';

/** Empties the caches that steps with `ignoreCache` mount, each once in a build. What others have at the moment stays. */
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
