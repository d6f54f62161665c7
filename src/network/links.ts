/** Makes links, addresses and routes by rtnetlink. Facts of the messages: rtnetlink(7), linux/if_link.h. */
import { errnoCode } from '../errors/index.ts';
import { interfaceIndex, type Netlink, netlinkAttributes, readNetlinkAttributes } from '../linux/index.ts';
import { bytesOfAddress, nthAddress, type Subnet } from './addresses.ts';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;

const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;

const IFF_UP = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_F_NODAD = 2;

const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RT_TABLE_MAIN = 254;
const RT_TABLE_LOCAL = 255;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_HOST = 254;
const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const RTN_PROHIBIT = 8;
const RTA_DST = 1;
const RTNH_F_ONLINK = 4;

const AF_INET = 2;
const AF_INET6 = 10;

/** The index that the step's end of a pair has in its namespace. */
export const stepEnd = { name: 'eth0', index: 2 };

function linkBody(index: number, flags = 0, change = 0): Buffer {
  const body = Buffer.alloc(16);
  body.writeInt32LE(index, 4);
  body.writeUInt32LE(flags, 8);
  body.writeUInt32LE(change, 12);
  return body;
}

/**
 * Makes a pair of linked interfaces: one called `name` here, the other (`stepEnd`) in the namespace of a descriptor.
 * Returns the index of the first. Throws EEXIST when there is an interface of that name.
 */
export function makePair(netlink: Netlink, name: string, namespace: number, mtu: number): number {
  const peer = Buffer.concat([
    linkBody(stepEnd.index),
    netlinkAttributes([
      [IFLA_IFNAME, stepEnd.name],
      [IFLA_MTU, mtu],
      [IFLA_NET_NS_FD, namespace],
    ]),
  ]);
  netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, linkBody(0), [
    [IFLA_IFNAME, name],
    [IFLA_MTU, mtu],
    [
      IFLA_LINKINFO,
      [
        [IFLA_INFO_KIND, 'veth'],
        [IFLA_INFO_DATA, [[VETH_INFO_PEER, peer]]],
      ],
    ],
  ]);
  return interfaceIndex(name);
}

export function setUp(netlink: Netlink, index: number): void {
  netlink.request(RTM_NEWLINK, 0, linkBody(index, IFF_UP, IFF_UP), []);
}

/** Removes an interface, and with it its peer, addresses and routes. */
export function removeLink(netlink: Netlink, index: number): void {
  netlink.request(RTM_DELLINK, 0, linkBody(index), []);
}

/** Gives an interface an address, and a route to the one address that is at the other end. */
export function addAddress(netlink: Netlink, index: number, own: string, peer: string): void {
  const [local, remote] = [bytesOfAddress(own), bytesOfAddress(peer)];
  const isV4 = local.length === 4;
  const body = Buffer.alloc(8);
  body.writeUInt8(isV4 ? AF_INET : AF_INET6, 0);
  body.writeUInt8(isV4 ? 32 : 128, 1);
  body.writeUInt8(isV4 ? 0 : IFA_F_NODAD, 2);
  body.writeUInt32LE(index, 4);
  netlink.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, [
    [IFA_LOCAL, local],
    [IFA_ADDRESS, remote],
  ]);
}

/** Refuses all traffic to a network, unless a narrower route leads to a part of it. */
export function prohibit(netlink: Netlink, subnet: Subnet): void {
  addRoute(netlink, subnet, { table: RT_TABLE_MAIN, scope: RT_SCOPE_UNIVERSE, type: RTN_PROHIBIT }, []);
}

/** How the kernel takes a route. */
interface RouteKind {
  table: number;
  scope: number;
  type: number;
  flags?: number;
}

/** Adds a route to a network. The attributes are those besides its destination. */
function addRoute(
  netlink: Netlink,
  subnet: Subnet,
  { table, scope, type, flags = 0 }: RouteKind,
  attributes: [number, number | Buffer][],
): void {
  const body = Buffer.alloc(12);
  body.writeUInt8(subnet.family === 4 ? AF_INET : AF_INET6, 0);
  body.writeUInt8(subnet.bits, 1);
  body.writeUInt8(table, 4);
  body.writeUInt8(RTPROT_STATIC, 5);
  body.writeUInt8(scope, 6);
  body.writeUInt8(type, 7);
  body.writeUInt32LE(flags, 8);
  const destination: [number, Buffer] = [RTA_DST, bytesOfAddress(nthAddress(subnet, 0))];
  netlink.request(RTM_NEWROUTE, NLM_F_CREATE, body, [
    ...(subnet.bits === 0 ? [] : [destination]),
    ...attributes,
  ]);
}

/** Keeps what is sent to networks inside of the namespace. An interface without IPv6 leads to none of its addresses. */
export function keepInside(netlink: Netlink, index: number, subnets: readonly Subnet[]): void {
  for (const subnet of subnets) {
    try {
      keepNetworkInside(netlink, index, subnet);
    } catch (err) {
      if (subnet.family === 4 || errnoCode(err) !== 'EACCES') throw err;
    }
  }
}

/**
 * Makes all addresses of a network the namespace's own, so that what is sent to them stays in it. A route that prohibits
 * does not keep a socket that is bound to the interface: IPv4 then takes the address for one of the link, and IPv6 takes no
 * route of another interface.
 */
function keepNetworkInside(netlink: Netlink, index: number, subnet: Subnet): void {
  const kind = { table: RT_TABLE_LOCAL, scope: RT_SCOPE_HOST, type: RTN_LOCAL };
  addRoute(netlink, subnet, kind, [[RTA_OIF, index]]);
}

/**
 * The index of the interface by which everything can be reached: every program that connects a namespace makes such a
 * route. Undefined when there is none.
 */
export function wayOut(netlink: Netlink): number | undefined {
  const bodySize = 12;
  for (const route of netlink.list(RTM_GETROUTE, Buffer.alloc(bodySize))) {
    const [, bits, , , , , , type] = route;
    if (bits !== 0 || type !== RTN_UNICAST) continue;
    const attributes = readNetlinkAttributes(route.subarray(bodySize));
    if (attributes.has(RTA_GATEWAY)) return attributes.get(RTA_OIF)?.readUInt32LE(0);
  }
  return undefined;
}

/** Leads all traffic without a route of its own to a gateway. */
export function addDefaultRoute(netlink: Netlink, index: number, gateway: string): void {
  const bytes = bytesOfAddress(gateway);
  const body = Buffer.alloc(12);
  body.writeUInt8(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  body.writeUInt8(RT_TABLE_MAIN, 4);
  body.writeUInt8(RTPROT_STATIC, 5);
  body.writeUInt8(RT_SCOPE_UNIVERSE, 6);
  body.writeUInt8(RTN_UNICAST, 7);
  // The kernel may not yet have noticed that the link is up.
  body.writeUInt32LE(RTNH_F_ONLINK, 8);
  netlink.request(RTM_NEWROUTE, NLM_F_CREATE, body, [
    [RTA_OIF, index],
    [RTA_GATEWAY, bytes],
  ]);
}
