/**
 * The same tests on each store, or on one. One containerd serves a test file; each engine on it has a namespace of its own, so
 * that it starts empty.
 *
 *   onStores('tagging', (store) => {
 *     let daemon: TestDaemon;
 *     beforeAll(async () => { daemon = await startTestDaemon(store.options()); });
 *     test('…', …);
 *   });
 */
import { afterAll, beforeAll, describe } from 'vitest';
import type { StoreOptions } from '../../src/engine/store-options.ts';
import { closePool } from '../../src/workers/pool.ts';
import { startContainerd, type TestContainerd, type TestContainerdOptions } from './containerd.ts';

export interface OneStore {
  readonly kind: 'local' | 'containerd';
  /**
   * For `openEngine`, `startTestDaemon`, `Builds.open`: which store, and where. An empty namespace each time, unless
   * one is given. Call it inside `beforeAll` or a test.
   */
  options(namespace?: string): Omit<StoreOptions, 'root'>;
  /** The same for the `drydock` command, as variables. */
  env(namespace?: string): Record<string, string>;
  /** The containerd; throws on the local store. */
  containerd(): TestContainerd;
}

let namespaces = 0;

/** Describes the tests for `local` and for `containerd`. */
export function onStores(
  name: string,
  tests: (store: OneStore) => void,
  options: TestContainerdOptions = {},
): void {
  onLocal(name, tests);
  onContainerd(`${name} (store/containerd)`, tests, options);
}

/** Describes tests of what lies above the stores, where the same code runs on each: the local one says it. */
export function onLocal(name: string, tests: (store: OneStore) => void): void {
  describe(`${name} (store/local)`, () => {
    tests({
      kind: 'local',
      options: () => ({ imageStore: 'local' }),
      env: () => ({ DRYDOCK_IMAGE_STORE: 'local' }),
      containerd() {
        throw new Error('there is no containerd with the local store');
      },
    });
  });
}

/** Describes tests that are about containerd alone. */
export function onContainerd(
  name: string,
  tests: (store: OneStore) => void,
  options: TestContainerdOptions = {},
): void {
  describe(name, () => {
    let running: TestContainerd | undefined;
    beforeAll(async () => {
      running = await startContainerd(options);
    });
    afterAll(async () => {
      await running?.stop();
      await closePool();
    });
    const containerd = () => {
      if (running === undefined) throw new Error('ask for the store in beforeAll or in a test');
      return running;
    };
    const place = (namespace = `test-${++namespaces}`) => ({ address: containerd().address, namespace });
    tests({
      kind: 'containerd',
      options(wanted) {
        const { address, namespace } = place(wanted);
        return { imageStore: 'containerd', containerdAddress: address, containerdNamespace: namespace };
      },
      env(wanted) {
        const { address, namespace } = place(wanted);
        return {
          DRYDOCK_IMAGE_STORE: 'containerd',
          DRYDOCK_CONTAINERD_ADDRESS: address,
          DRYDOCK_CONTAINERD_NAMESPACE: namespace,
        };
      },
      containerd,
    });
  });
}
