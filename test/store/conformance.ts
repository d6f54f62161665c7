/**
 * What every Store does, whatever stands behind it. `conformanceSuite` registers the tests; `openStore` gives an
 * empty store, `done` closes it and takes its traces away.
 */
import { afterEach, beforeEach, describe } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { lease, StoreAtHand } from './conformance/at-hand.ts';
import { contentTests } from './conformance/content.ts';
import { holdTests } from './conformance/hold.ts';
import { imagesTests } from './conformance/images.ts';
import { leasesTests } from './conformance/leases.ts';
import { snapshotsTests } from './conformance/snapshots.ts';

export type OpenStore = () => Promise<{ store: Store; done(): Promise<void> }>;

export function conformanceSuite(name: string, openStore: OpenStore): void {
  describe(`${name}: a store`, () => {
    const at = new StoreAtHand();
    let done: () => Promise<void>;

    beforeEach(async () => {
      ({ store: at.store, done } = await openStore());
      await at.store.leases.create(lease);
    });
    afterEach(() => done());

    contentTests(at);
    snapshotsTests(at);
    imagesTests(at);
    leasesTests(at);
    holdTests(at);
  });
}
