/** What the tests of every store have at hand. */
import type { Readable } from 'node:stream';
import { digestOf } from '../../../src/oci/digest.ts';
import type { Digest } from '../../../src/oci/types.ts';
import type { Store } from '../../../src/store/store.ts';
import { withMounted } from '../../kit/mounted.ts';

/** The lease that all is made under. */
export const lease = 'the-build';
export const nowhere: Digest = digestOf('nowhere');
export const bytes = (text: string) => Buffer.from(text);

export async function text(stream: Readable): Promise<string> {
  return Buffer.concat(await stream.toArray()).toString();
}

/** The store of the test that runs. */
export class StoreAtHand {
  store!: Store;

  /** Makes a committed snapshot by writing through its mounts. */
  async layer(key: string, parent: string | undefined, write: (dir: string) => void): Promise<void> {
    const mounts = await this.store.snapshots.prepare(`${key}-active`, parent, { lease });
    await withMounted(mounts, write);
    await this.store.snapshots.commit(key, `${key}-active`, { lease });
  }

  async see<T>(key: string, look: (dir: string) => T): Promise<T> {
    const view = await this.store.snapshots.view(key);
    try {
      return await withMounted(view.mounts, look);
    } finally {
      await view.release();
    }
  }
}
