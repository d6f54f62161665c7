/** Decides which addresses the proxy connects to for a step: those that a step with a link of its own reaches. */
import { type LookupAddress, type LookupOptions, lookup } from 'node:dns';
import { lookup as lookUp } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isIn, parseSubnet, type Subnet } from '../addresses.ts';

export interface Gate {
  /** Whether the host's network is the step's, with the entitlement for it. */
  isHost: boolean;
  denied: readonly Subnet[];
  /** Whether an address is another step's. */
  isStep(address: string): boolean;
  /** Names in the step's /etc/hosts. The host's own address is `host-gateway` there. */
  hosts: readonly { host: string; ip: string }[];
  /** What `host-gateway` stands for; default: this host's first address. */
  hostGateway?: readonly string[];
}

const never = ['127.0.0.0/8', '0.0.0.0/8', '224.0.0.0/3', '::/96', 'ff00::/8'].map((net) =>
  parseSubnet(net, 'address'),
);

/** Throws for an address that the step must not reach. */
export function checkAddress(address: string, gate: Gate): void {
  const { isHost, denied, hosts, isStep } = gate;
  if (isHost) return;
  const own = Object.values(networkInterfaces())
    .flat()
    .flatMap((each) =>
      each === undefined ? [] : [parseSubnet(each.address.replace(/%.*$/, ''), 'address')],
    );
  const asksHost = hosts.some(({ ip }) => ip === 'host-gateway');
  // An address can be written in many ways.
  const isOwn = own.some((each) => isIn(address, each)) && !(asksHost && gatewayOf(gate).includes(address));
  if (isOwn || isStep(address) || [...never, ...denied].some((net) => isIn(address, net))) {
    throw Object.assign(new Error(`a step must not reach ${address}`), { code: 'EACCES' });
  }
}

/** The addresses at which this host's services are asked for a step that was given `host-gateway`. */
function gatewayOf({ hostGateway }: Gate): readonly string[] {
  if (hostGateway !== undefined) return hostGateway;
  const first = Object.values(networkInterfaces())
    .flat()
    .filter((each) => each !== undefined && !each.internal && each.family === 'IPv4')[0]?.address;
  return [first ?? '127.0.0.1'];
}

/** A look-up for `net.connect`: what it returns was checked, so that a name cannot lead elsewhere a moment later. */
export function checkedLookup(gate: Gate): LookupFunction {
  return (name: string, options: LookupOptions, callback) => {
    const answer = (err: NodeJS.ErrnoException | null, found: LookupAddress[]) => {
      if (err !== null) return callback(err, '', 4);
      const open = found.filter(({ address }) => isOpen(address, gate));
      const [first] = open;
      if (first === undefined) {
        const refused = Object.assign(new Error(`a step must not reach ${name}`), { code: 'EACCES' });
        return callback(refused, '', 4);
      }
      if (options.all === true) callback(null, open);
      else callback(null, first.address, first.family);
    };
    const listed = gate.hosts.filter(({ host }) => host.toLowerCase() === name.toLowerCase());
    if (listed.length > 0) {
      const addresses = listed.flatMap(({ ip }) => (ip === 'host-gateway' ? gatewayOf(gate) : [ip]));
      answer(
        null,
        addresses.map((address) => ({ address, family: isIP(address) })),
      );
      return;
    }
    lookup(name, { ...options, all: true }, (err, found) => answer(err, found ?? []));
  };
}

/**
 * Throws for a name with an address that the step must not reach, before another proxy is asked for it. A name that is not
 * known here may be known there.
 */
export async function checkName(name: string, gate: Gate): Promise<void> {
  if (gate.isHost) return;
  const found = await lookUp(name, { all: true }).catch(() => []);
  for (const { address } of found) checkAddress(address, gate);
}

/**
 * The URL of a proxy that a step has chosen, with an address that was checked in the place of its name: what connects to
 * it later looks up no name. Throws for one that the step must not reach.
 */
export async function reachedByStep(proxy: string, gate: Gate): Promise<string> {
  const url = new URL(proxy);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0) {
    checkAddress(host, gate);
    return proxy;
  }
  if (url.protocol !== 'http:') {
    throw new Error(`a step’s own proxy must be one of http://, and not ${url.protocol}//`);
  }
  const address = await new Promise<string>((resolve, reject) =>
    checkedLookup(gate)(host, {}, (err, found) => (err === null ? resolve(String(found)) : reject(err))),
  );
  url.hostname = isIP(address) === 6 ? `[${address}]` : address;
  return url.href;
}

function isOpen(address: string, gate: Gate): boolean {
  try {
    checkAddress(address, gate);
    return true;
  } catch {
    return false;
  }
}
