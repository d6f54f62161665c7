/** The beginning and the end of a build: its lease is made and given up, whatever goes wrong at either end. */
import type { Job } from '../solver/index.ts';
import { explainDisk, fillReserve, letGo, letGoOfTheRest } from '../store/index.ts';
import type { Engine } from './engine.ts';

/** Makes the lease that holds everything the build makes, and returns the lease's name. Throws the store's errors. */
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
 * Lets go of all that a build holds. `released` is called once no work of the build goes on any more. Never throws: the
 * client is to read how the build ended, not how its cleaning up went.
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
