/** What sources work with. */
import type { Refs } from '../refs/types.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { OpMaker } from '../solver/types.ts';
import type { Store } from '../store/store.ts';

export interface SourceDeps {
  store: Store;
  refs: Refs;
  registry: RegistryClient;
}

export type SourceMaker = OpMaker<SourceDeps>;
