/** The fleet's cache of an engine, which is loaded when it is first asked. */
import { toDrydockError } from '../errors/index.ts';
import type { CredentialSource } from '../oci/index.ts';
import type { Refs } from '../refs/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { SharedCache, SharedCacheSpec } from '../shared-cache/index.ts';
import type { FleetCache } from '../solver/index.ts';
import type { Store } from '../store/index.ts';

/** A cache that an engine shares with others. */
export interface SharedCacheOptions {
  spec: SharedCacheSpec;
  /** The credentials of this machine, for a registry. */
  credentials: CredentialSource;
  /** Hears, in a sentence, when the cache cannot be used, and when it can again. */
  say(text: string): void;
  /** How long closing the engine waits until all that was made is written, ms. */
  wait: number;
}

interface Parts {
  store: Store;
  refs: Refs;
  registry: RegistryClient;
}

/** See the top of this file. */
export class EngineFleet implements FleetCache {
  readonly #options: SharedCacheOptions;
  readonly #parts: Parts;
  #opened: Promise<SharedCache | undefined> | undefined;

  constructor(options: SharedCacheOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
  }

  async find(...args: Parameters<FleetCache['find']>): ReturnType<FleetCache['find']> {
    return (await this.#open())?.find(...args);
  }

  async expect(...args: Parameters<FleetCache['expect']>): ReturnType<FleetCache['expect']> {
    return (await this.#open())?.expect(...args);
  }

  async write(...args: Parameters<FleetCache['write']>): Promise<void> {
    await (await this.#open())?.write(...args);
  }

  /** Waits for what is being written, as long as the options say. */
  async close(): Promise<void> {
    await (await this.#opened)?.close(this.#options.wait);
  }

  /** The cache; undefined when it cannot be opened, which is told once. */
  #open(): Promise<SharedCache | undefined> {
    const { spec, credentials, say } = this.#options;
    this.#opened ??= import('../shared-cache/open.ts')
      .then(({ openSharedCache }) => openSharedCache(spec, { ...this.#parts, credentials, say }))
      .catch((err) => {
        say(`the shared cache ${spec.name} cannot be used: ${toDrydockError(err).message}`);
        return undefined;
      });
    return this.#opened;
  }
}
