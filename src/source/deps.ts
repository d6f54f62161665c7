/** The parts of the engine that sources work with. */
import type { ImageTrust } from '../distribution/index.ts';
import type { Refs } from '../refs/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { OpMaker } from '../solver/index.ts';
import type { Store } from '../store/index.ts';

/** The parts of the engine that sources get when they are made. */
export interface SourceDeps {
  store: Store;
  refs: Refs;
  registry: RegistryClient;
  /** Judges the images that are used; undefined: all may be. */
  trust?: ImageTrust;
}

export type SourceMaker = OpMaker<SourceDeps>;
