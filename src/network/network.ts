/** The networks of an engine's steps, by the operator's settings. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type DrydockError, errnoCode, fail, toDrydockError } from '../errors/index.ts';
import { closeFd, inUserNamespace } from '../linux/index.ts';
import { isIn, parseSubnet, subnetText } from './addresses.ts';
import { Forwarder } from './forwarder.ts';
import { discard, Pool, type Taken } from './pool.ts';
import type { Prepared, Provider, Ready, Resolver } from './provider.ts';
import { checkDns, hostResolv, type Resolving, resolvingFor, settledResolv } from './resolv.ts';
import {
  defaultDenied,
  type Network,
  type NetworkOptions,
  type NetworkRequest,
  type NetworkState,
  type ProxyRequest,
  type StepNetwork,
} from './types.ts';

/** A way to connect steps that works here, with its pool. */
interface Way {
  kind: 'bridge' | 'cni' | 'pasta';
  provider: Provider;
  pool: Pool;
  /** Makes one for a step that may ask the host, or for any. */
  prepare(asksHost: boolean): Promise<Ready>;
}

const loopback = '127.0.0.1';
const everyV6 = parseSubnet('::/0', 'IPv6');
const defaultPoolSize = 16;
/** The name of the network of steps that ask for no other. */
const usual = 'default';
/** The folders of CNI plugins: that of the plugins' own packages, and Debian's. */
const pluginFolders = ['/opt/cni/bin', '/usr/lib/cni'];
/** Where the processes of this host meet that set rules. */
const sharedFolder = '/run/drydock/network';

/**
 * Makes the networks. `folder` is a folder of the root, for records. Nothing is done on the host before the first step
 * asks for a network. Throws `invalid` for settings that cannot be.
 *
 *     const networks = createNetwork('/var/lib/drydock/network', { mode: 'auto' });
 */
export function createNetwork(folder: string, options: NetworkOptions = {}): Network {
  return new Networks(folder, options);
}

class Networks implements Network {
  readonly #folder: string;
  readonly #options: NetworkOptions;
  /** The way of steps that ask for nothing else; undefined: they have the host's network. */
  #default: Promise<Way | undefined> | undefined;
  readonly #named = new Map<string, Promise<Way>>();
  readonly #held = new Set<StepNetwork>();
  /** The addresses of steps of the ways that are open. */
  readonly #ways: Way[] = [];
  /** How many steps were announced and have not begun, by the name of their network. */
  readonly #announced = new Map<string, number>();
  #shortfall: NetworkState['shortfall'];
  #sweeping: Promise<void> | undefined;

  constructor(folder: string, options: NetworkOptions) {
    this.#folder = folder;
    this.#options = options;
    checkDns(options.dns ?? {});
    for (const net of options.subnets ?? []) parseSubnet(net, 'network-subnet');
    for (const net of options.denied ?? []) parseSubnet(net, 'network-deny');
    if (options.mode === 'cni' && options.cni?.configPath === undefined) {
      throw fail('invalid', 'client', 'the network mode cni needs a CNI configuration', {
        hint: 'Name its file: network-cni-config, or cniConfigPath in buildkitd.toml.',
      });
    }
    if (options.mtu !== undefined && options.cni?.configPath !== undefined) {
      throw fail('invalid', 'client', 'network-mtu (mtu) is of no use with CNI: its plugins make the links', {
        hint: 'Write "mtu" into the CNI configuration.',
      });
    }
  }

  /** What `host-gateway` stands for where the host is found at this address. */
  #gateway(hostAddress: string): readonly string[] {
    return this.#options.hostGateway ?? [hostAddress];
  }

  #denied(): readonly string[] {
    return this.#options.denied ?? defaultDenied;
  }

  async acquire(request: NetworkRequest): Promise<StepNetwork> {
    const { mode } = request;
    if (typeof mode === 'object' && 'proxy' in mode) return this.#proxied(mode.proxy);
    if (typeof mode === 'object') return this.#own(await this.#way(mode.name), request.asksHost);
    if (mode === 'none' || (mode === 'default' && this.#options.mode === 'none')) return this.#plain('none');
    if (mode === 'host') return this.#plain('host');
    const way = await this.#usual();
    return way === undefined ? this.#plain('host') : this.#own(way, request.asksHost);
  }

  async #own({ kind, prepare, pool }: Way, asksHost: boolean): Promise<StepNetwork> {
    // The steps that may ask the host are told apart when their network is made.
    const { prepared, give } = await (asksHost ? madeFor(prepare) : this.#take(pool));
    const network: StepNetwork = {
      kind: 'own',
      namespace: `/proc/${process.pid}/fd/${prepared.fd}`,
      hostGateway: this.#gateway(prepared.hostAddress),
      heldByRoutes: kind !== 'bridge',
      resolv: prepared.resolver.text,
      release: (isClean = false) => {
        if (this.#held.delete(network)) give(isClean);
      },
    };
    this.#held.add(network);
    return network;
  }

  /** A namespace whose resolver's settings are those of now. */
  async #take(pool: Pool): Promise<Taken> {
    for (;;) {
      const taken = await pool.take();
      const { resolver } = taken.prepared;
      const { text, forwardTo } = this.#resolving(taken.prepared);
      if (text === resolver.text && forwardTo?.join() === resolver.forwardTo?.join()) return taken;
      taken.give(false);
    }
  }

  #resolving({ hasV6 }: Prepared): Resolving {
    const settled = settledResolv(hostResolv(), this.#options.dns);
    const denied = this.#denied().map((net) => parseSubnet(net, 'network-deny'));
    return resolvingFor(settled, hasV6 ? denied : [...denied, everyV6]);
  }

  /** The resolver of a namespace, which gets its forwarder if it needs one. */
  #resolverOf(prepared: Prepared): Resolver {
    const { dns } = prepared;
    const { text, forwardTo } = this.#resolving(prepared);
    const forwarder = forwardTo === undefined ? undefined : new Forwarder(dns, forwardTo);
    if (forwarder === undefined) for (const fd of [dns.udp, dns.tcp]) closeFd(fd);
    return { text, forwardTo, close: () => forwarder?.close() };
  }

  /** A namespace without a way out but a socket, on which a proxy answers. */
  async #proxied({ egress, hosts, variables = [], check, reached }: ProxyRequest): Promise<StepNetwork> {
    if (egress === 'default' && this.#options.mode === 'none') return this.#plain('none');
    const { openProxy } = await import('./proxy/open.ts');
    const gate = {
      isHost: egress === 'host',
      denied: this.#denied().map((net) => parseSubnet(net, 'network-deny')),
      hosts,
      hostGateway: this.#options.hostGateway,
      isStep: (address: string) => this.isStep(address),
    };
    const proxy = await openProxy({ gate, check, variables, trusted: this.#options.trusted ?? [] });
    const network: StepNetwork = {
      ...proxy,
      kind: 'own',
      hostGateway: this.#gateway(loopback),
      resolv: '',
      release: () => {
        if (!this.#held.delete(network)) return;
        reached(proxy.use());
        proxy.close();
      },
    };
    this.#held.add(network);
    return network;
  }

  #plain(kind: 'host' | 'none'): StepNetwork {
    const resolv = settledResolv(hostResolv(), this.#options.dns);
    return { kind, hostGateway: this.#gateway(loopback), resolv, release() {} };
  }

  #usual(): Promise<Way | undefined> {
    this.#default ??= this.#openUsual();
    return this.#default;
  }

  async #openUsual(): Promise<Way | undefined> {
    await this.#swept();
    const { mode = 'auto', cni } = this.#options;
    if (mode === 'host' || mode === 'none') return undefined;
    const kinds = mode === 'auto' ? autoKinds(cni?.configPath !== undefined) : [mode];
    const failed: DrydockError[] = [];
    for (const kind of kinds) {
      try {
        return await this.#open(kind);
      } catch (err) {
        failed.push(cannot(kind, err));
      }
    }
    const why = failed.map(({ message }) => message).join('; ');
    const hint =
      failed.find((each) => each.hint !== undefined)?.hint ??
      'Run as root with CAP_NET_ADMIN, or install pasta (Debian: apt-get install passt).';
    if (mode !== 'auto') {
      throw fail('unavailable', 'exec', `steps cannot be given a network of their own (${why})`, { hint });
    }
    this.#shortfall = {
      message: `steps share this host's network, for they cannot be given one of their own (${why})`,
      hint: `${hint} The setting network-mode=bridge has such builds fail, network-mode=host has them say nothing.`,
    };
    return undefined;
  }

  /** Takes away what killed processes on this root left to CNI plugins, whatever the mode is by now. */
  #swept(): Promise<void> {
    this.#sweeping ??= sweep(join(this.#folder, 'cni'));
    return this.#sweeping;
  }

  async #open(kind: Way['kind'], name = usual): Promise<Way> {
    const configPath = name === usual ? this.#options.cni?.configPath : this.find(name);
    const denied = this.#denied();
    const { subnets = [], hostAccess = 'asked', cni, poolSize = defaultPoolSize } = this.#options;
    const { hostGateway = [], mtu } = this.#options;
    const open = {
      bridge: async () =>
        (await import('./bridge.ts')).openBridge({
          ...{ folder: sharedFolder, subnets, denied, hostAccess },
          ...{ hostGateway, mtu },
        }),
      pasta: async () =>
        (await import('./pasta.ts')).openPasta({
          ...{ folder: this.#folder, denied, hostAccess },
          ...{ hostGateway, mtu },
        }),
      cni: async () =>
        (await import('./cni.ts')).openCni({
          folder: join(this.#folder, 'cni'),
          configPath: configPath ?? '',
          binaryPath: cni?.binaryPath ?? pluginFolders.find(existsSync) ?? '/usr/lib/cni',
          denied,
        }),
    };
    const provider = await open[kind]();
    const prepare = async (asksHost: boolean): Promise<Ready> => {
      const prepared = await provider.prepare(asksHost);
      return { ...prepared, resolver: this.#resolverOf(prepared) };
    };
    const pool = new Pool(() => prepare(false), {
      most: poolSize,
      lasts: this.#options.lasts === true,
      announced: () => this.#announced.get(name) ?? 0,
    });
    try {
      // Only a namespace that was made shows that they can be.
      await pool.begin();
    } catch (err) {
      await pool.close();
      await provider.close();
      throw err;
    }
    const way = { kind, provider, pool, prepare };
    this.#ways.push(way);
    return way;
  }

  /** A network that the operator has named. */
  #way(name: string): Promise<Way> {
    this.find(name);
    let way = this.#named.get(name);
    if (way === undefined) {
      way = this.#swept().then(() => this.#open('cni', name));
      this.#named.set(name, way);
      // It is tried again: the configuration may have been mended.
      way.catch(() => this.#named.delete(name));
    }
    return way;
  }

  find(name: string): string {
    const { named = {} } = this.#options;
    const configPath = Object.hasOwn(named, name) ? named[name] : undefined;
    if (configPath !== undefined) return configPath;
    throw fail('not-found', 'exec', `there is no network ${JSON.stringify(name)} for steps`, {
      hint:
        this.names.length > 0
          ? `The networks here: default, none, host, ${this.names.join(', ')}.`
          : 'The networks here: default, none, host. The setting network-name adds others.',
    });
  }

  expect(mode: NetworkRequest['mode']): () => void {
    const name = typeof mode === 'object' && 'name' in mode ? mode.name : mode;
    const isOwn = typeof name === 'string' && name !== 'host' && name !== 'none';
    if (!isOwn || (name === usual && ['host', 'none'].includes(this.#options.mode ?? ''))) return () => {};
    const count = (by: number) => this.#announced.set(name, (this.#announced.get(name) ?? 0) + by);
    count(1);
    this.#wayOf(name).then(
      (way) => way?.pool.fill(),
      // The step itself hears of it.
      () => {},
    );
    let isOver = false;
    return () => {
      if (!isOver) count(-1);
      isOver = true;
    };
  }

  async #wayOf(name: string): Promise<Way | undefined> {
    return name === usual ? this.#usual() : this.#way(name);
  }

  isHost(address: string): boolean {
    const isIts = ({ provider }: Way) => provider.hostAddress === address;
    return this.#ways.some(isIts) || this.#options.hostGateway?.includes(address) === true;
  }

  isStep(address: string): boolean {
    return this.#ways.some(({ provider }) => provider.subnets.some((subnet) => isIn(address, subnet)));
  }

  get names(): readonly string[] {
    return Object.keys(this.#options.named ?? {});
  }

  get shortfall(): NetworkState['shortfall'] {
    return this.#shortfall;
  }

  async look(): Promise<NetworkState> {
    const { mode } = this.#options;
    const way = await this.#usual();
    if (way === undefined) {
      const kind = mode === 'none' ? 'none' : 'host';
      const [hostAddress = loopback] = this.#gateway(loopback);
      return { kind, hostAddress, subnets: [], shortfall: this.#shortfall };
    }
    const { kind, provider } = way;
    const [hostAddress = loopback] = this.#gateway(provider.hostAddress);
    return { kind, hostAddress, subnets: provider.subnets.map(subnetText) };
  }

  async close(): Promise<void> {
    await this.#default?.catch(() => {});
    for (const way of this.#named.values()) await way.catch(() => {});
    for (const network of [...this.#held]) network.release();
    for (const { pool, provider } of this.#ways.splice(0)) {
      await pool.close();
      await provider.close();
    }
    this.#default = undefined;
    this.#named.clear();
  }
}

async function sweep(records: string): Promise<void> {
  if (existsSync(records)) await (await import('./cni-records.ts')).sweepCni(records);
}

/** A namespace that is made for one step alone. */
async function madeFor(prepare: Way['prepare']): Promise<Taken> {
  const prepared = await prepare(true);
  return { prepared, give: () => discard(prepared) };
}

/** Why a way does not work here, in words for somebody who could mend it. */
function cannot(kind: Way['kind'], err: unknown): DrydockError {
  const { message, hint, code } = toDrydockError(err, 'exec');
  const known: Record<string, string> = {
    EPERM: 'this process may not change networks (it has no CAP_NET_ADMIN)',
    EACCES: 'this process may not change networks (it is not root)',
    EROFS: '/proc/sys is read-only, as in a container without --privileged',
  };
  const why = known[errnoIn(err) ?? ''] ?? message;
  return fail(code === 'invalid' || code === 'not-found' ? code : 'unavailable', 'exec', `${kind}: ${why}`, {
    cause: err,
    hint,
  });
}

/** The system's error code in an error or in what caused it. */
function errnoIn(err: unknown): string | undefined {
  for (let each = err; each instanceof Error; each = each.cause) {
    const code = errnoCode(each);
    if (code !== undefined && /^E[A-Z]+$/.test(code)) return code;
  }
  return undefined;
}

/** The ways that are tried, in order. Only root of the host itself can set the host's rules. */
function autoKinds(hasCni: boolean): Way['kind'][] {
  return [
    ...(hasCni ? (['cni'] as const) : []),
    ...(inUserNamespace() ? [] : (['bridge'] as const)),
    'pasta',
  ];
}
