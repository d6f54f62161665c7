/** The engine: one store with everything that builds into it. A CLI run opens one in process; a daemon keeps one. */
import { join } from 'node:path';
import { Cache } from '../cache/cache.ts';
import { createExecutor } from '../executor/executor.ts';
import type { Executor } from '../executor/types.ts';
import { type Kept, keptUnder } from '../kept/kept.ts';
import { loadGraph } from '../llb/graph.ts';
import { makeOpFactory } from '../ops/factory.ts';
import { createRefs } from '../refs/refs.ts';
import type { Refs } from '../refs/types.ts';
import { RegistryClient } from '../registry/client.ts';
import { Solver } from '../solver/solver.ts';
import type { Store } from '../store/store.ts';
import { version } from '../version.ts';
import type { StoreOptions } from './store-options.ts';
import { openStore } from './stores.ts';

export interface EngineOptions extends StoreOptions {
  /** Registry hosts to speak to without TLS, or with a certificate that does not check. */
  insecureRegistries?: string[];
}

export interface Engine {
  readonly store: Store;
  readonly cache: Cache;
  readonly kept: Kept;
  readonly refs: Refs;
  readonly registry: RegistryClient;
  readonly executor: Executor;
  readonly solver: Solver;
  /** Lets go of the store. Builds must be over. */
  close(): Promise<void>;
}

/**
 * Opens the engine on a root folder, sweeping what a killed process left there. Several processes may have one root
 * open. Throws `denied` or `exhausted` (hop `store`) when the folder cannot be used, `unavailable` when containerd is
 * the store and does not answer.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  return engineOn(await openStore(options), options);
}

/** The engine on a store that is open; it closes the store with itself. */
export function engineOn(store: Store, options: Pick<EngineOptions, 'insecureRegistries'> = {}): Engine {
  const cache = new Cache(store.root);
  const registry = new RegistryClient({
    userAgent: `drydock/${version}`,
    insecure: options.insecureRegistries ?? [],
  });
  const refs = createRefs({ store, registry });
  const executor = createExecutor({ runDir: store.runDir, stateDir: join(store.root, 'executor') });
  const makeOp = makeOpFactory({
    store,
    cache,
    refs,
    executor,
    registry,
    async solveNested(definition, ctx) {
      const { vertices, output } = loadGraph(definition);
      if (output === undefined) return undefined;
      return (await solver.solve(solver.jobOf(ctx), vertices, [output]))[0];
    },
  });
  const solver: Solver = new Solver({
    store,
    cache,
    makeOp,
    restore: (serialized, lease) => refs.restore(serialized, lease),
  });
  return {
    store,
    cache,
    kept: keptUnder(store.root),
    refs,
    registry,
    executor,
    solver,
    async close() {
      cache.close();
      await store.close();
    },
  };
}
