/** A build's lease, from its first moment to its last, whatever goes wrong at either end. */
import type { Job } from '../solver/index.ts';
import { explainDisk, fillReserve, letGo, letGoOfTheRest } from '../store/index.ts';
import type { Engine } from './engine.ts';

/** Makes the lease that holds what a build makes. Throws what the store throws. */
export async function beginBuild({ store }: Engine, job: Job): Promise<string> {
  const lease = `build-${job.id}`;
  try {
    await store.leases.create(lease);
  } catch (err) {
    throw await explainDisk(err, store);
  }
  await letGoOfTheRest(store);
  return lease;
}

/**
 * Lets go of all that a build holds; `released` is called once none of it works any more. Never throws: how the build
 * ended is what its client is to read.
 */
export async function endBuild(engine: Engine, job: Job, lease: string, released: () => void): Promise<void> {
  await engine.solver.release(job).catch(() => {});
  released();
  await letGo(engine.store, lease);
  // What a full disk had no room to note may have room now.
  await letGoOfTheRest(engine.store);
  fillReserve(engine.store.root);
  await engine.gc.afterBuild().catch(() => {}); // the next build's end tries again
}
