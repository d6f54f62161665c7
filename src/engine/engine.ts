/**
 * The engine: one store with everything that builds into it. A command opens one in its own process; a daemon keeps one
 * open.
 */
import { join } from 'node:path';
import { Cache } from '../cache/index.ts';
import { DeviceRegistry } from '../cdi/index.ts';
import { Emulation } from '../emulation/index.ts';
import { createExecutor, type Executor } from '../executor/index.ts';
import { Explainer } from '../explain/index.ts';
import { type Kept, keptUnder } from '../kept/index.ts';
import { createNetwork, type Network, type NetworkOptions } from '../network/index.ts';
import { limitedOps } from '../ops/index.ts';
import { createRefs, type Refs } from '../refs/index.ts';
import { type HostCertificates, RegistryClient } from '../registry/index.ts';
import { Solver } from '../solver/index.ts';
import { explainDisk, fillReserve, type Store, withReserve } from '../store/index.ts';
import { type Tracing, tracingFromEnv } from '../telemetry/index.ts';
import { GarbageCollector, type GcRule } from '../upkeep/index.ts';
import { version } from '../version.ts';
import { Producers } from './bridge/producers.ts';
import { imageTrust, type LateImageTrust } from './image-trust.ts';
import { makeOpFactory } from './ops.ts';
import { readProvenanceEnv } from './provenance-env.ts';
import { checkSandbox, noLazyRemap, remapOf, type SandboxOptions } from './sandbox-options.ts';
import { EngineFleet, type SharedCacheOptions } from './shared-cache.ts';
import type { OperatorLimits } from './step-limits.ts';
import type { OperatorRights } from './step-rights.ts';
import type { StoreOptions } from './store-options.ts';
import { openStore, stateFolder } from './stores.ts';
import type { TellOptions } from './tell-options.ts';

/** How the engine talks to registries. */
export interface RegistryOptions {
  /** Hosts that are spoken to without TLS, or with a certificate that does not check. */
  insecureRegistries?: string[];
  /**
   * An image's domain (`docker.io`) → hosts, with or without a path prefix, that are asked first when an image of that
   * domain is pulled.
   */
  registryMirrors?: Record<string, string[]>;
  /** Host → certificates for it, besides those in /etc/docker/certs.d. */
  registryCertificates?: Record<string, HostCertificates>;
  /** Folders with a `hosts.toml` for registries; default: those of containerd and docker. */
  registryConfigPath?: string[];
  /** A file that says whose signatures images must have; see docs/signing.md. */
  imagePolicy?: string;
}

/** Who may use this machine's own credentials. */
export interface BucketOptions {
  /**
   * The buckets that builds may use with this machine's own credentials, where a cache gives none: `s3://bucket`,
   * `https://minio.example/bucket`, `https://account.blob.core.windows.net/container`. Undefined: all of them, as the
   * builds are this process's own.
   */
  cacheBuckets?: readonly string[];
}

/** The limits that an operator sets for steps and for the cache. */
export interface LimitOptions extends OperatorLimits, OperatorRights, SandboxOptions {
  /**
   * The rules by which records are taken out of the cache after builds. Undefined: Drydock's own policy. An empty list:
   * no record is taken out.
   */
  gc?: readonly GcRule[];
  /**
   * Opens the root even on a full disk, with the space that is set aside for giving space back. A caller that is about
   * to fill the disk leaves this out: a build would leave no space for the `prune` that comes after it.
   */
  /** The networks of steps. */
  network?: NetworkOptions;
  /** The engine stays open for the builds to come, as a daemon's does. */
  lasts?: boolean;
  /** Has all steps with a network go by a proxy, whether a build asks for it or not. */
  proxyNetwork?: boolean;
  /** A cache that this engine shares with others; undefined: none. */
  sharedCache?: SharedCacheOptions;
  /** Certificates of authorities, as PEM, that the programs of steps trust besides those of their images. */
  trusted?: readonly string[];
  /** The cgroup of steps that name none. */
  cgroupParent?: string;
}

/** The options of `openEngine`: the store, the registries, and the limits of steps and cache. */
export interface EngineOptions
  extends StoreOptions,
    RegistryOptions,
    LimitOptions,
    TellOptions,
    BucketOptions {
  /**
   * Opens the root with the space that is set aside on the disk for giving space back. It is for callers that do not
   * fill the disk (`prune`, `rmi`): a build would leave no space for the `prune` that comes after it.
   */
  useReserve?: boolean;
}

/**
 * The parts of an engine, all on one store. `openEngine` opens it; any number of builds run on it at the same time;
 * `close` closes it when they are over.
 */
export interface Engine {
  readonly store: Store;
  readonly cache: Cache;
  readonly kept: Kept;
  /** Says why steps run; undefined where nobody wants to know. */
  readonly explain: Explainer | undefined;
  /** Who made the trees of the builds that go on. */
  readonly producers: Producers;
  /** Fields that an operator adds to every provenance. */
  readonly provenanceEnv: Readonly<Record<string, unknown>>;
  readonly refs: Refs;
  readonly registry: RegistryClient;
  /** Judges the images that builds use and that are pulled; undefined: all may be. */
  readonly trust: LateImageTrust | undefined;
  /** Whether builds may use a bucket (`s3://bucket`, or its URL) with this machine's own credentials. */
  readonly mayUseBucket: (address: string) => boolean;
  readonly executor: Executor;
  /** The longest time that a step, or a frontend's container, may run, in ms; undefined: as long as it takes. */
  readonly stepTimeout: number | undefined;
  /** The devices of this machine that steps can have. */
  readonly devices: DeviceRegistry;
  /** Which platforms' programs run here. */
  readonly emulation: Emulation;
  /** What confines steps, as it was asked for. */
  readonly rights: Omit<OperatorRights, 'cdi'>;
  /** How much every step is kept apart from this machine. */
  readonly sandbox: SandboxOptions;
  readonly network: Network;
  /** Where spans of builds go; undefined: nowhere. */
  readonly tracing: Tracing | undefined;
  /** Whether all builds have the proxy network. */
  readonly proxyNetwork: boolean;
  readonly solver: Solver;
  readonly gc: GarbageCollector;
  /** Lets go of the store. All builds must be over. */
  close(): Promise<void>;
}

/**
 * Opens the engine on a root folder and sweeps what a killed process left there. Several processes may have one root
 * open. Throws `denied` or `exhausted` (hop `store`) when the folder cannot be used, and `unavailable` when containerd
 * is the store and does not answer.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const folder = stateFolder(options);
  const open = async () => {
    const store = await openStore(options);
    try {
      return engineOn(store, options);
    } catch (err) {
      await store.close();
      throw err;
    }
  };
  try {
    const engine = options.useReserve === true ? await withReserve(folder, open) : await open();
    fillReserve(folder);
    return engine;
  } catch (err) {
    throw await explainDisk(err, { root: options.root }, 'store');
  }
}

/** The engine on a store that is open already. `Engine.close` closes that store, too. */
export function engineOn(
  store: Store,
  options: RegistryOptions & LimitOptions & TellOptions & BucketOptions = {},
): Engine {
  checkSandbox(options);
  const remap = remapOf(options);
  if (remap !== undefined && store.lazy?.wanted === true) throw noLazyRemap();
  const { apparmorProfile, selinux, seccompProfile } = options;
  const { provenanceEnvDir } = options;
  const provenanceEnv = provenanceEnvDir === undefined ? {} : readProvenanceEnv(provenanceEnvDir);
  const cache = new Cache(store.root);
  const registry = new RegistryClient({
    userAgent: `drydock/${version}`,
    insecure: options.insecureRegistries ?? [],
    mirrors: options.registryMirrors,
    certificates: options.registryCertificates,
    hostsFolders: options.registryConfigPath,
    retries: options.maxDownloadAttempts === undefined ? undefined : options.maxDownloadAttempts - 1,
  });
  store.lazy?.connect(registry.settings);
  store.work.limit({ fetches: options.maxConcurrentDownloads, uploads: options.maxConcurrentUploads });
  const trust = imageTrust(options.imagePolicy, registry, store.root);
  const refs = createRefs({ store, registry });
  const network = createNetwork(join(store.root, 'network'), {
    trusted: options.trusted,
    lasts: options.lasts,
    ...options.network,
  });
  const executor = createExecutor({
    runDir: store.runDir,
    stateDir: join(store.root, 'executor'),
    runtime: options.runtime,
    network,
    trusted: options.trusted,
    cgroupParent: options.cgroupParent,
    pids: options.stepPids,
    oomScore: options.stepOomScore,
    memory: options.stepMemory,
    cpus: options.stepCpus,
    ulimits: options.stepUlimits,
    shmSize: options.stepShmSize,
    apparmorProfile,
    selinux,
    seccompProfile,
    processSandbox: options.noProcessSandbox !== true,
    remap,
  });
  const devices = new DeviceRegistry(options.cdi);
  const emulation = new Emulation();
  const kept = keptUnder(store.root);
  const explain = options.explain === false ? undefined : new Explainer(store.root);
  const makeAnyOp = makeOpFactory({
    store,
    cache,
    refs,
    executor,
    registry,
    trust,
    devices,
    emulation,
    stepTimeout: options.stepTimeout,
    stepLog: { size: options.stepLogSize, speed: options.stepLogSpeed },
    async solveNested(definition, ctx) {
      const job = solver.jobOf(ctx);
      const { vertices, output } = await job.load(definition);
      if (output === undefined) return undefined;
      return (await solver.solve(job, vertices, [output]))[0];
    },
  });
  const { maxParallelism } = options;
  const makeOp = maxParallelism === undefined ? makeAnyOp : limitedOps(makeAnyOp, maxParallelism);
  const tracing = tracingFromEnv(
    process.env,
    options.warn ?? ((text) => void process.stderr.write(`WARNING: ${text}\n`)),
  );
  const { sharedCache } = options;
  const fleet = sharedCache && new EngineFleet(sharedCache, { store, refs, registry });
  const solver: Solver = new Solver({
    store,
    cache,
    makeOp,
    restore: (serialized, lease) => refs.restore(serialized, lease),
    misses: explain,
    fleet,
    listDb: explain?.listDb,
    otherKeys: async (vertex, map) => (await import('../buildkit-keys/index.ts')).buildkitKeys(vertex, map),
  });
  return {
    store,
    cache,
    kept,
    explain,
    producers: new Producers(),
    provenanceEnv,
    gc: new GarbageCollector({ store, cache, kept, explain }, options.gc),
    refs,
    registry,
    trust,
    mayUseBucket: (address) => options.cacheBuckets?.includes(address) ?? true,
    executor,
    stepTimeout: options.stepTimeout,
    network,
    proxyNetwork: options.proxyNetwork ?? false,
    devices,
    emulation,
    rights: { apparmorProfile, selinux, seccompProfile },
    sandbox: { noProcessSandbox: options.noProcessSandbox, usernsRemap: options.usernsRemap },
    solver,
    tracing,
    async close() {
      await fleet?.close();
      await tracing?.close();
      executor.close();
      const disconnected = network.close();
      cache.close();
      explain?.close();
      await Promise.all([disconnected, store.close()]);
      // What was taken of it may be there again.
      fillReserve(store.root);
    },
  };
}
