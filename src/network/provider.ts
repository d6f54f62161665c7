/** What a way to connect steps does; `bridge.ts`, `cni.ts` and `pasta.ts` are the ways. */
import type { Subnet } from './addresses.ts';
import type { CounterFds } from './trace.ts';

/** A namespace that is connected and waits for a step, or has one. */
export interface Prepared {
  /** The descriptor of the namespace. */
  fd: number;
  hostAddress: string;
  /** The sockets for a DNS forwarder in the namespace, which are the resolver's as soon as there is one. */
  dns: { udp: number; tcp: number };
  /** By which it is told what a step has done in it. */
  counters: CounterFds;
  /** Whether a step can reach IPv6 addresses. */
  hasV6: boolean;
  /** Disconnects it and closes its descriptor, but none of those above. */
  dispose(): void;
}

/** A namespace that a step can have. */
export interface Ready extends Prepared {
  resolver: Resolver;
}

/** The resolver's settings of a namespace. */
export interface Resolver {
  /** The text of /etc/resolv.conf. */
  text: string;
  /** The nameservers that are asked for the step; undefined: it asks them itself. */
  forwardTo: readonly string[] | undefined;
  close(): void;
}

export interface Provider {
  /** Makes one. `asksHost`: its step was given the host's address. Throws `unavailable`, `exhausted`. */
  prepare(asksHost: boolean): Promise<Prepared>;
  /** The address at which steps find this host, if it is always the same. */
  readonly hostAddress: string;
  /** The networks that its steps have addresses of. */
  readonly subnets: readonly Subnet[];
  /** Takes away what is left of it. */
  close(): Promise<void>;
}
