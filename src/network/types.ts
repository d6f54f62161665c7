/** The contract of the network: it gives a step a network and takes it back. */
import type { NetworkUse } from '../progress/index.ts';
import type { DnsConfig } from './resolv.ts';
import type { HostAccess } from './rules.ts';

/** What a step asks for: the operator's network for steps, the host's own, none, or one that the operator has named. */
export interface NetworkRequest {
  mode: 'default' | 'host' | 'none' | { name: string } | { proxy: ProxyRequest };
  /** Whether the step was given the host's address (`host-gateway`): it may then ask the host's services there. */
  asksHost: boolean;
}

/** A network whose only way out is a proxy that sees what is asked. */
export interface ProxyRequest {
  /** The network that the proxy asks in. */
  egress: 'default' | 'host';
  /** The names in the step's /etc/hosts. */
  hosts: readonly { host: string; ip: string }[];
  /** The step's variables, as `K=V`: the proxies among them are the ones that this one asks by in its turn. */
  variables?: readonly string[];
  /** Returns the URL to ask in the place of one. Throws for one that the build may not have. */
  check(url: string, method: string): Promise<string>;
  /** Takes the notes of what was asked when the network is released. */
  reached(use: NetworkUse): void;
}

/** The network of one step, from `acquire` to `release`. */
export interface StepNetwork {
  /**
   * `own`: the step enters `namespace`. `host`: it has this process's network. `none`: the runtime makes it a namespace
   * with nothing but a loopback.
   */
  readonly kind: 'own' | 'host' | 'none';
  /** The path of the namespace, while the network is held. */
  readonly namespace?: string;
  /** The addresses that `host-gateway` stands for: where the step finds this host, or the operator's in its place. */
  readonly hostGateway: readonly string[];
  /**
   * Whether it is only the routes of the namespace that keep the step from this host. Packets that it makes up itself
   * (CAP_NET_RAW) would go past them.
   */
  readonly heldByRoutes?: boolean;
  /** The text of its /etc/resolv.conf. */
  readonly resolv: string;
  /** Variables that lead programs to the network's proxy, as `K=V`. */
  readonly env?: readonly string[];
  /** The certificate, as PEM, of the authority that the proxy answers with. */
  readonly authority?: string;
  /**
   * Gives it back. The step's processes must have ended. `isClean`: none of them is left for certain, and none could
   * change the namespace (CAP_NET_ADMIN): where the step has not used it either, another one gets it.
   */
  release(isClean?: boolean): void;
}

/** The networks of an engine's steps. */
export interface Network {
  /**
   * Gives a step a network. Throws `unavailable` when it cannot be made on this host, `not-found` for an unknown name,
   * `exhausted` when no address is left.
   *
   *     const network = await networks.acquire({ mode: 'default', asksHost: false });
   *     // a process enters network.namespace and runs to its end
   *     network.release();
   */
  acquire(request: NetworkRequest): Promise<StepNetwork>;
  /** Says that a step will ask for a network: one is made ready. The result is called when it asks, or never will. */
  expect(mode: NetworkRequest['mode']): () => void;
  /** Whether an address is the one at which steps find this host. */
  isHost(address: string): boolean;
  /** The networks that a build may choose by name. */
  readonly names: readonly string[];
  /** Throws `not-found` when there is no network of a name. */
  find(name: string): void;
  /** Why steps share the host's network although one of their own was wished, once that was found out. */
  readonly shortfall: NetworkState['shortfall'];
  /** Finds out how steps are connected here. Throws `unavailable` when they cannot be as the operator wishes it. */
  look(): Promise<NetworkState>;
  /** Whether an address is one of a step of this engine. */
  isStep(address: string): boolean;
  /** Takes everything away. No step may run any more. */
  close(): Promise<void>;
}

/** How steps are connected. */
export interface NetworkState {
  kind: 'bridge' | 'cni' | 'pasta' | 'host' | 'none';
  /** The first address that `host-gateway` stands for, for clients that write it into their builds. */
  hostAddress: string;
  /** The networks of which steps have their addresses. */
  subnets: string[];
  /** Why steps share the host's network although one of their own was wished; undefined when they have their own. */
  shortfall?: { message: string; hint: string };
}

/**
 * The ways to connect steps. `auto`: the first of them that works here (CNI only where it is configured), and the
 * host's network where none does, of which builds are told. `bridge`: links to this host with NAT. `cni`: the plugins
 * of a CNI configuration. `pasta`: a process for each step that speaks to the outside for it (pasta or slirp4netns).
 */
export type NetworkMode = 'auto' | 'bridge' | 'cni' | 'pasta' | 'host' | 'none';

/** An operator's settings of the networks of steps. */
export interface NetworkOptions {
  /** Default: `auto`. */
  mode?: NetworkMode;
  /** The networks that steps get their addresses of, one for each family; default: free ones. */
  subnets?: readonly string[];
  /** The networks that steps cannot reach; default: `defaultDenied`. */
  denied?: readonly string[];
  /**
   * What a step may ask of this host: `never`, only when it was given `host-gateway` (`asked`, the default), `always`. CNI leaves it to its
   * plugins.
   */
  hostAccess?: HostAccess;
  /** What `host-gateway` stands for, IPv4 before IPv6; default: the address at which steps find this host. */
  hostGateway?: readonly string[];
  /** The bytes of the largest packet of steps (bridge, pasta); default: what the uplinks take, 1500 at most. */
  mtu?: number;
  /** How many networks are kept ready at most; default 16. */
  poolSize?: number;
  /** Keeps networks ready between builds, and not only for steps that are announced. */
  lasts?: boolean;
  dns?: DnsConfig;
  /** Certificates, as PEM, by which the proxy trusts servers besides the usual ones. */
  trusted?: readonly string[];
  cni?: CniOptions;
  /** Networks for builds to choose by name: name → the file of a CNI configuration. */
  named?: Readonly<Record<string, string>>;
}

interface CniOptions {
  /** The file of the configuration (`.conf`, `.conflist`, `.json`). */
  configPath?: string;
  /** The folder of the plugins. */
  binaryPath?: string;
}

/** The addresses at which clouds tell their machines secrets, and all link-local ones. */
export const defaultDenied: readonly string[] = [
  '169.254.0.0/16',
  'fe80::/10',
  'fd00:ec2::254/128',
  '100.100.100.200/32',
];
