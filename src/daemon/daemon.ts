/** The daemon: an engine, kept open behind listeners until it is told to stop. */
import { mkdirSync, realpathSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ApiHost,
  Behind,
  Builds,
  dockerApi,
  EventBus,
  type GrpcAcceptor,
  type Log,
  type UiApi,
  uiApi,
} from '../api/index.ts';
import { type Listener, openAuth } from '../auth/index.ts';
import {
  containerdOf,
  type Engine,
  openEngine,
  type SharedCacheOptions,
  stateFolder,
} from '../engine/index.ts';
import { dockerConfigCredentials, SessionManager } from '../session/index.ts';
import { parseSharedCache } from '../shared-cache/index.ts';
import { withReserve } from '../store/index.ts';
import { version } from '../version.ts';
import { defaultSocket, parseAddress } from './address.ts';
import { setBuildkitdAside } from './buildkitd-state.ts';
import { watchCertificates } from './certificate-watch.ts';
import { type DaemonConfig, defaultShutdownTimeout } from './config.ts';
import { Connections } from './connections.ts';
import { daemonGauges } from './gauges.ts';
import { type Listeners, openListeners } from './listeners.ts';
import { createLog } from './log.ts';
import { Metrics } from './metrics.ts';
import { type ServiceManager, takeServiceManager } from './notify.ts';
import { takePidLock } from './pid-lock.ts';
import { Relief } from './relief.ts';
import { Rest } from './rest.ts';
import { debugAccess, openWatchedListener, type WatchedListener } from './watched-listener.ts';

/** A running daemon. `startDaemon` makes it; it serves until `stop`. */
export interface Daemon {
  /** Its addresses, in the form of `--host`. */
  readonly addresses: readonly string[];
  /** Where it shows its health and numbers, as `http://HOST:PORT`, if it does so by a listener of their own. */
  readonly metricsUrl: string | undefined;
  readonly engine: Engine;
  /** Reads the policy and the certificates again, and opens the audit log anew (SIGHUP). Never throws. */
  reload(): void;
  /**
   * Takes no more connections and builds, waits for those under way until the deadline, hands the rest back, and lets go
   * of everything. It may be called again; `now` skips the wait.
   */
  stop(now?: boolean): Promise<void>;
}

/** How long cancelled builds have to clean up, in ms. */
const cleanUpTime = 10_000;

/**
 * Starts a daemon. When it throws, nothing is left behind. Throws `conflict` when another daemon serves the root or an
 * address is taken; `invalid` for addresses, certificates and the policy file; and the errors of opening the engine.
 */
export async function startDaemon(config: DaemonConfig): Promise<Daemon> {
  const log = createLog({
    format: config.logFormat ?? 'text',
    level: config.logLevel ?? 'info',
    write: config.writeLog ?? ((line) => process.stderr.write(line)),
  });
  const manager = takeServiceManager(log);
  mkdirSync(config.root, { recursive: true, mode: 0o711 });
  const root = realpathSync(config.root);
  const undo: (() => void | Promise<void>)[] = [];
  try {
    const addresses = (config.hosts.length > 0 ? config.hosts : [`unix://${defaultSocket(root)}`]).map(
      parseAddress,
    );
    const lock = await withReserve(stateFolder({ ...config, root }), () => takePidLock(root));
    undo.push(() => lock.release());
    if (config.replacesBuildkitd) setBuildkitdAside(root, log);
    const auth = openAuth({ policyFile: config.policyFile, auditFile: config.auditFile, log });
    undo.push(() => auth.close());
    const sharedCache = sharedCacheOf(config, log);
    const engine = await openEngine({
      ...config,
      // Its credentials are not its clients'.
      cacheBuckets: config.cacheBuckets ?? [],
      root,
      useReserve: true,
      lasts: true,
      warn: (text) => log('warn', text),
      sharedCache,
    });
    undo.push(() => engine.close());
    await engine.trust?.load();
    const daemon = new RunningDaemon(config, { log, engine, auth, manager });
    await daemon.open(addresses, () => undo);
    log('info', `Drydock ${version} is ready`, {
      root,
      store: engine.store.kind,
      snapshotter: engine.store.snapshotter,
      hosts: daemon.addresses,
      pid: process.pid,
    });
    manager.ready(`listening on ${daemon.addresses.join(', ')}`);
    return daemon;
  } catch (err) {
    for (const each of undo.reverse()) await each();
    throw err;
  }
}

/** The cache of a fleet that the configuration names. Throws `invalid`. */
function sharedCacheOf(
  { sharedCachePlace: place, shutdownTimeout = defaultShutdownTimeout }: DaemonConfig,
  log: Log,
): SharedCacheOptions | undefined {
  if (place === undefined) return undefined;
  return {
    spec: parseSharedCache(place, process.env),
    credentials: dockerConfigCredentials(process.env),
    say: (text) => log('warn', text),
    wait: shutdownTimeout,
  };
}

interface Parts {
  log: Log;
  engine: Engine;
  auth: ReturnType<typeof openAuth>;
  manager: ServiceManager;
}

type Undo = (() => void | Promise<void>)[];

/** From so many builds on, memory that is not used just now is given back meanwhile. */
const manyBuilds = 8;

class RunningDaemon implements Daemon {
  readonly engine: Engine;
  readonly #config: DaemonConfig;
  readonly #log: Log;
  readonly #auth: Parts['auth'];
  readonly #manager: ServiceManager;
  readonly #metrics = new Metrics();
  readonly #builds: Builds;
  readonly #sessions: SessionManager;
  readonly #rest = new Rest(() => this.#builds.size === 0);
  readonly #relief = new Relief(() => this.#builds.size >= manyBuilds);
  readonly #hurry = new AbortController();
  readonly #listenerOf = new WeakMap<object, Listener>();
  #connections!: Connections;
  #listeners!: Listeners;
  #grpc: GrpcAcceptor | undefined;
  #ui: UiApi | undefined;
  #behind: Behind | undefined;
  #watched: WatchedListener | undefined;
  #unwatch: (() => void) | undefined;
  #undo: Undo = [];
  #stopping: Promise<void> | undefined;

  constructor(config: DaemonConfig, { log, engine, auth, manager }: Parts) {
    this.engine = engine;
    this.#config = config;
    this.#log = log;
    this.#auth = auth;
    this.#manager = manager;
    this.#sessions = new SessionManager({ log });
    this.#builds = new Builds(
      ({ outcome, code, duration }) => {
        const seconds = duration / 1000;
        this.#metrics.count('drydock_builds_total', 'Builds that ended.', { outcome, code: code ?? '' });
        this.#metrics.observe('drydock_build_seconds', 'How long builds took.', seconds, { outcome });
        this.#rest.soon();
      },
      () => this.#relief.begin(),
    );
  }

  get addresses(): readonly string[] {
    return this.#listeners.addresses;
  }

  get metricsUrl(): string | undefined {
    return this.#watched?.url;
  }

  async open(addresses: ReturnType<typeof parseAddress>[], undo: () => Undo): Promise<void> {
    const { group, tls, insecureTcp, metricsAddress } = this.#config;
    const host = this.#host();
    this.#grpc = await this.#config.grpc?.(host);
    host.record = this.#grpc?.record;
    host.buildsByResult = this.#grpc?.buildsByResult;
    host.observed = this.#grpc?.observed;
    const docker = dockerApi(host);
    this.#ui = uiApi(host);
    this.#connections = new Connections(
      { host, docker, ui: this.#ui, grpc: this.#grpc, metrics: this.#metrics },
      this.#listenerOf,
    );
    daemonGauges(this.#metrics, {
      engine: this.engine,
      builds: this.#builds,
      sessions: this.#sessions,
      connections: this.#connections,
    });
    if (metricsAddress) {
      const { network } = this.engine;
      const isStep = (peer: string) => network.isStep(peer);
      const debug = this.#config.debugPages === true ? debugAccess(network) : undefined;
      this.#watched = await openWatchedListener(metricsAddress, host, isStep, debug);
      undo().push(() => this.#watched?.close());
      this.#log('info', `health and metrics are at ${this.#watched.url}`);
    }
    this.#listeners = await openListeners(
      { addresses, group, tls, insecureTcp, log: this.#log },
      (socket, listener) => this.#connections.accept(socket, listener),
    );
    if (tls !== undefined) {
      this.#unwatch = watchCertificates(tls, () => {
        this.#log('info', 'a file of the certificate has changed');
        this.#listeners.reload();
      });
    }
    this.#undo = undo();
    this.#rest.soon();
  }

  #host(): ApiHost {
    const auth = this.#auth;
    const behind = this.#config.engine === undefined ? undefined : new Behind(this.#config.engine);
    if (behind !== undefined) this.#behind = behind;
    const unknown: Listener = { kind: 'tcp', insecure: false };
    const listenerOf = (socket: object) => this.#listenerOf.get(socket) ?? unknown;
    const host: ApiHost = {
      engine: this.engine,
      builds: this.#builds,
      events: new EventBus(),
      sessions: this.#sessions,
      log: this.#log,
      hostname: hostname(),
      containerd: this.engine.store.kind === 'containerd' ? containerdOf(this.#config) : undefined,
      behind,
      debug: this.#config.logLevel === 'debug',
      minApiVersion: this.#config.minApiVersion,
      experimental: this.#config.experimental,
      insecureRegistries: this.#config.insecureRegistries ?? [],
      registryMirrors: this.#config.registryMirrors?.['docker.io'] ?? [],
      admit: async (request, ask) => {
        const authority = await auth.admit(request, listenerOf(request.socket), {
          ...ask,
          requestId: ask.requestId ?? this.#connections.requestIdOf(request),
        });
        if (authority.scopes.size > 0) this.#connections.admitted(request.socket);
        return authority;
      },
      metrics: () => this.#metrics.render(),
      health: () => (this.#stopping === undefined ? { ok: true } : { ok: false, reason: 'shutting down' }),
    };
    if (this.#config.grpc !== undefined) {
      host.grpc = (socket, authority) =>
        this.#grpc?.accept(socket, async (_headers, ask) => {
          auth.check(authority, ask);
          return authority;
        });
    }
    return host;
  }

  reload(): void {
    this.#log('info', 'reloading');
    this.#auth.reload();
    this.#listeners.reload();
  }

  stop(now = false): Promise<void> {
    if (now) this.#hurry.abort();
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const timeout = this.#config.shutdownTimeout ?? defaultShutdownTimeout;
    this.#manager.stopping();
    this.#rest.stop();
    this.#relief.stop();
    this.#log('info', 'shutting down', { builds: this.#builds.size, timeout });
    this.#unwatch?.();
    this.#listeners.close();
    const deadline = AbortSignal.any([this.#hurry.signal, AbortSignal.timeout(timeout)]);
    const drained = this.#builds.drain();
    const settled = this.#connections.settle(deadline);
    await Promise.race([drained, fired(deadline)]);
    if (this.#builds.size > 0) {
      this.#log('warn', 'the deadline has passed: builds are handed back', { builds: this.#builds.size });
      this.#builds.handBack();
      await Promise.race([drained, sleep(cleanUpTime)]);
    }
    await settled;
    this.#ui?.close();
    // Streams that have no end of their own (a build's status, events) get a moment to say that theirs is over.
    await this.#grpc?.close(AbortSignal.timeout(500));
    this.#sessions.close();
    this.#connections.destroy();
    this.#behind?.close();
    for (const each of this.#undo.reverse()) await each();
    this.#log('info', 'stopped');
  }
}

function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
