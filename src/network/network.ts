/** The networks of an engine's steps, by the operator's settings. */
import { DrydockError, fail, toDrydockError } from '../errors/index.ts';
import { closeFd } from '../linux/index.ts';
import { isIn, parseSubnet } from './addresses.ts';
import { openBridge } from './bridge.ts';
import { Forwarder } from './forwarder.ts';
import { Pool } from './pool.ts';
import type { Prepared, Provider } from './provider.ts';
import { hostResolv, resolvingFor, settledResolv } from './resolv.ts';
import {
  defaultDenied,
  type Network,
  type NetworkOptions,
  type NetworkRequest,
  type NetworkShortfall,
  type StepNetwork,
} from './types.ts';

/** A way to connect steps that works here, with its pool. */
interface Way {
  provider: Provider;
  pool: Pool;
}

const loopback = '127.0.0.1';
const everyV6 = parseSubnet('::/0', 'IPv6');
const defaultPoolSize = 16;

/**
 * Makes the networks. Nothing is done on the host before the first step asks for one.
 *
 *     const networks = createNetwork({ mode: 'auto' });
 */
export function createNetwork(options: NetworkOptions = {}): Network {
  return new Networks(options);
}

class Networks implements Network {
  readonly #options: NetworkOptions;
  /** The way of steps that ask for nothing else; undefined: they have the host's network. */
  #default: Promise<Way | undefined> | undefined;
  readonly #held = new Set<StepNetwork>();
  #provider: Provider | undefined;
  #shortfall: NetworkShortfall | undefined;

  constructor(options: NetworkOptions) {
    this.#options = options;
    for (const net of [...(options.subnets ?? []), ...this.#denied()]) parseSubnet(net, 'network');
  }

  #denied(): readonly string[] {
    return this.#options.denied ?? defaultDenied;
  }

  async acquire(request: NetworkRequest): Promise<StepNetwork> {
    const { mode } = request;
    const own = this.#options.mode ?? 'auto';
    if (mode === 'none' || (mode === 'default' && own === 'none')) return this.#none();
    if (mode === 'host') return this.#host();
    if (mode !== 'default') throw fail('not-found', 'exec', `there is no network ${mode.name} here`);
    const way = await this.#way();
    if (way === undefined) return this.#host();
    return this.#own(way, request.asksHost);
  }

  async #own({ provider, pool }: Way, asksHost: boolean): Promise<StepNetwork> {
    // The hosts that may be asked are told apart by the link's name, so such a network is made for its step.
    const prepared = await (asksHost ? provider.prepare(true) : pool.take());
    const { text, forwarder } = this.#resolving(prepared);
    const network: StepNetwork = {
      kind: 'own',
      namespace: `/proc/${process.pid}/fd/${prepared.fd}`,
      hostAddress: prepared.hostAddress,
      resolv: text,
      release: () => {
        if (!this.#held.delete(network)) return;
        forwarder?.close();
        prepared.dispose();
      },
    };
    this.#held.add(network);
    return network;
  }

  /** The resolver's settings of a namespace, and its forwarder if it needs one. */
  #resolving({ dns, hasV6 }: Prepared): { text: string; forwarder: Forwarder | undefined } {
    const settled = settledResolv(hostResolv(), this.#options.dns);
    const denied = this.#denied().map((net) => parseSubnet(net, 'network-deny'));
    const { text, forwardTo } = resolvingFor(settled, hasV6 ? denied : [...denied, everyV6]);
    if (dns === undefined) return { text: forwardTo === undefined ? text : settled, forwarder: undefined };
    if (forwardTo !== undefined) return { text, forwarder: new Forwarder(dns, forwardTo) };
    closeFd(dns.udp);
    closeFd(dns.tcp);
    return { text, forwarder: undefined };
  }

  #host(): StepNetwork {
    const resolv = settledResolv(hostResolv(), this.#options.dns);
    return { kind: 'host', hostAddress: loopback, resolv, release() {} };
  }

  #none(): StepNetwork {
    const resolv = settledResolv(hostResolv(), this.#options.dns);
    return { kind: 'none', hostAddress: loopback, resolv, release() {} };
  }

  #way(): Promise<Way | undefined> {
    this.#default ??= this.#open();
    return this.#default;
  }

  async #open(): Promise<Way | undefined> {
    const mode = this.#options.mode ?? 'auto';
    if (mode === 'host' || mode === 'none') return undefined;
    const said: string[] = [];
    for (const kind of mode === 'auto' ? (['bridge'] as const) : [mode]) {
      try {
        return await this.#openAs(kind);
      } catch (err) {
        const known = err instanceof DrydockError ? err : toDrydockError(err, 'exec');
        if (mode !== 'auto') {
          throw fail('unavailable', 'exec', `steps cannot be given a network (${kind}): ${known.message}`, {
            cause: err,
            hint: known.hint,
          });
        }
        said.push(`${kind}: ${known.message}`);
      }
    }
    this.#shortfall = {
      message: `steps share this host's network, for they cannot have one of their own (${said.join('; ')})`,
      hint: 'Install nftables or iptables, and run as root.',
    };
    return undefined;
  }

  async #openAs(kind: string): Promise<Way> {
    if (kind !== 'bridge') throw fail('unsupported', 'exec', `unknown network mode ${kind}`);
    const provider = await openBridge({
      folder: '/run/drydock/network',
      subnets: this.#options.subnets ?? [],
      denied: this.#denied(),
      hostAccess: this.#options.hostAccess ?? 'asked',
    });
    const pool = new Pool(provider, this.#options.poolSize ?? defaultPoolSize);
    try {
      // That rules can be set does not yet say that links can be made.
      (await pool.take()).dispose();
    } catch (err) {
      await pool.close();
      await provider.close();
      throw err;
    }
    this.#provider = provider;
    return { provider, pool };
  }

  expect(): void {
    const { mode } = this.#options;
    if (mode !== 'host' && mode !== 'none') this.#way().catch(() => {});
  }

  isHost(address: string): boolean {
    return this.#provider?.hostAddress === address;
  }

  shortfall(): NetworkShortfall | undefined {
    return this.#shortfall;
  }

  async hostAddress(): Promise<string> {
    return (await this.#way())?.provider.hostAddress ?? loopback;
  }

  isStep(address: string): boolean {
    return this.#provider?.subnets.some((subnet) => isIn(address, subnet)) ?? false;
  }

  async close(): Promise<void> {
    const way = await this.#default?.catch(() => undefined);
    this.#default = undefined;
    for (const network of [...this.#held]) network.release();
    await way?.pool.close();
    await way?.provider.close();
  }
}
