/** What the host's own networks are: for addresses that do not collide with them, and for the size of packets. */

import { networkInterfaces } from 'node:os';
import { readText } from '../linux/index.ts';
import { ipFamily } from '../words/index.ts';
import { overlap, parseSubnet, type Subnet } from './addresses.ts';
import { linkPrefix } from './names.ts';
import { hostResolv, nameserversOf } from './resolv.ts';

/** The host's routes. */
interface HostRoutes {
  /** The networks that it has a route to, but for the one to everywhere, and its nameservers. */
  taken: Subnet[];
  /** The interfaces that lead everywhere. */
  uplinks: { family: 4 | 6; name: string }[];
}

/** Reads the routes of the calling process's network. */
export function hostRoutes(): HostRoutes {
  const resolvers = nameserversOf(hostResolv()).filter((server) => ipFamily(server) !== 0);
  const own = Object.entries(networkInterfaces())
    .filter(([name]) => !name.startsWith(linkPrefix))
    .flatMap(([, addresses = []]) => addresses.map(({ address, cidr }) => cidr ?? address));
  const { taken, uplinks } = routesIn(readText('/proc/net/route'), readText('/proc/net/ipv6_route'));
  return {
    taken: [...taken, ...[...resolvers, ...own].map((text) => parseSubnet(text, 'address'))],
    uplinks,
  };
}

/** The routes in the kernel's two lists (proc(5)). Pure. */
export function routesIn(v4: string, v6: string): HostRoutes {
  const routes: HostRoutes = { taken: [], uplinks: [] };
  const add = (name: string, subnet: Subnet) => {
    if (name.startsWith(linkPrefix) || name === 'lo') return;
    if (subnet.bits === 0) routes.uplinks.push({ family: subnet.family, name });
    else routes.taken.push(subnet);
  };
  for (const line of v4.split('\n').slice(1)) {
    const [name, destination = '', , , , , , mask = ''] = line.split(/\s+/);
    if (name === undefined || !/^[0-9A-F]{8}$/.test(destination)) continue;
    const bits = Number.parseInt(mask, 16).toString(2).replaceAll('0', '').length;
    add(name, {
      family: 4,
      base: BigInt(`0x${Buffer.from(destination, 'hex').reverse().toString('hex')}`),
      bits,
    });
  }
  for (const line of v6.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const [destination = '', bits = '0'] = fields;
    const flags = Number.parseInt(fields[8] ?? '', 16);
    // Of a route that is up (RTF_UP) and rejects nothing (RTF_REJECT).
    if (fields.length !== 10 || (flags & 0x201) !== 1) continue;
    add(fields[9] as string, {
      family: 6,
      base: BigInt(`0x${destination}`),
      bits: Number.parseInt(bits, 16),
    });
  }
  return routes;
}

/** The networks that steps get their addresses of, the first one that is free. */
const candidates4 = [
  ...['10.213.32.0/20', '172.29.208.0/20', '192.168.208.0/20', '10.67.144.0/20', '100.109.176.0/20'],
].map((text) => parseSubnet(text, 'candidate'));
const candidates6 = ['fd5c:d1d0:c4fe:7a32::/64', 'fd93:21b7:60ad:e815::/64'].map((text) =>
  parseSubnet(text, 'candidate'),
);

/** A network that no route of the host leads to; undefined when all are taken. */
export function freeSubnet(family: 4 | 6, taken: readonly Subnet[]): Subnet | undefined {
  const candidates = family === 4 ? candidates4 : candidates6;
  // A route to a network with all of ours in it (10.0.0.0/8) is only in the way where it is all that there is.
  const isFree = (net: Subnet, least: number) =>
    !taken.some((each) => each.bits >= least && overlap(each, net));
  return candidates.find((net) => isFree(net, 0)) ?? candidates.find((net) => isFree(net, 9));
}

/** The size of the largest packet that all uplinks take. */
export function packetSize(uplinks: HostRoutes['uplinks']): number {
  const sizes = uplinks.map(({ name }) => Number(readText(`/sys/class/net/${name}/mtu`)));
  return Math.max(1280, Math.min(1500, ...sizes.filter((size) => size > 0)));
}
