/** Makes one network namespace, on a worker thread: its loopback, its link to the host, its sockets for DNS. */
import { errnoCode, fail } from '../errors/index.ts';
import {
  closeFd,
  enterNewNetworkNamespace,
  inNetworkNamespace,
  inNewNetworkNamespace,
  listenOn,
  Netlink,
} from '../linux/index.ts';
import { nthAddress, type Subnet, sizeOf, subnetText } from './addresses.ts';
import { addAddress, addDefaultRoute, makePair, prohibit, removeLink, setUp, stepEnd } from './links.ts';
import { forwarderAddress } from './resolv.ts';
import { noteForwarding } from './shared-task.ts';
import { allowPing, forwardUplinks, hostEndSettings, stepEndSettings } from './sysctls.ts';
import { type CounterFds, openCounters } from './trace.ts';

/** The link of a namespace to the host. */
interface LinkPlan {
  /** The beginning of the names of the host's ends. */
  prefix: string;
  /** Links of two prefixes share one subnet: those of one have even numbers, the others odd ones. */
  parity: 0 | 1;
  subnet4: Subnet;
  /** Undefined: the namespace has no IPv6. */
  subnet6: Subnet | undefined;
  mtu: number;
  /** The number to try first. */
  first: number;
}

interface NamespacePlan {
  link?: LinkPlan;
  /** The networks to which a namespace without a link refuses all traffic by itself. */
  prohibited?: readonly Subnet[];
  /** The port of the loopback on which a proxy answers in a namespace without a link. */
  proxy?: number;
  /** The folder in which changes of the host are written down. */
  folder?: string;
}

/** A namespace that was made. The caller closes the descriptors. */
interface MadeNamespace {
  fd: number;
  /** The host's end of the link. */
  link?: string;
  /** The number of the link. */
  number?: number;
  /** A socket that listens on the port for the proxy. */
  proxy?: number;
  /** A netlink connection in a namespace without a link, for `wayOut`. */
  watch?: number;
  /** Sockets for a DNS forwarder in the namespace. */
  dns: { udp: number; tcp: number };
  counters: CounterFds;
}

/**
 * Makes the namespace. The descriptors alone keep it and its link: it goes with the process. Throws Node-style errors
 * (EPERM without the right), and `exhausted` when all addresses are taken.
 */
export function makeNamespace(plan: NamespacePlan): MadeNamespace {
  if (plan.link === undefined) return makeUnlinked(plan);
  const { link } = plan;
  const fd = inNewNetworkNamespace(() => withNetlink((inside) => setUp(inside, 1)));
  try {
    // An interface may have come up since the last time.
    const forwarding = forwardUplinks(link.subnet6 !== undefined);
    if (plan.folder !== undefined) noteForwarding(plan.folder, forwarding);
    const { name, number, index } = withNetlink((host) => connect(host, fd, link));
    try {
      const inside = inNetworkNamespace(fd, () => {
        withNetlink((netlink) => setUpStepEnd(netlink, link, number));
        return { dns: listenForNames(), counters: openCounters() };
      });
      return { fd, link: name, number, ...inside };
    } catch (err) {
      withNetlink((host) => removeLink(host, index));
      throw err;
    }
  } catch (err) {
    closeFd(fd);
    throw err;
  }
}

/**
 * Makes a namespace that a program will connect. It stays on the namespace's side: the task is to be run on a thread of
 * its own.
 */
function makeUnlinked({ prohibited = [], proxy }: NamespacePlan): MadeNamespace {
  const fd = enterNewNetworkNamespace();
  const inside = new Netlink();
  try {
    setUp(inside, 1);
    allowPing();
    for (const subnet of prohibited) prohibit(inside, subnet);
    const sockets = proxy === undefined ? undefined : listenOn('127.0.0.1', proxy);
    if (sockets !== undefined) closeFd(sockets.udp);
    return {
      fd,
      dns: listenForNames(),
      counters: openCounters(),
      watch: inside.fd,
      proxy: sockets?.tcp,
    };
  } catch (err) {
    inside.close();
    closeFd(fd);
    throw err;
  }
}

function listenForNames(): { udp: number; tcp: number } {
  return listenOn(forwarderAddress, 53);
}

function withNetlink<T>(body: (netlink: Netlink) => T): T {
  const netlink = new Netlink();
  try {
    return body(netlink);
  } finally {
    netlink.close();
  }
}

/** Makes the pair and sets up the host's end of it. */
function connect(
  host: Netlink,
  namespace: number,
  plan: LinkPlan,
): { name: string; number: number; index: number } {
  const { subnet4, subnet6 } = plan;
  const { name, number, index } = takeLink(host, namespace, plan);
  hostEndSettings(name, subnet6 !== undefined);
  // The route of an IPv6 address is only made where the interface is up.
  setUp(host, index);
  addAddress(host, index, nthAddress(subnet4, 1), nthAddress(subnet4, number));
  if (subnet6 !== undefined) addAddress(host, index, nthAddress(subnet6, 1), nthAddress(subnet6, number));
  return { name, number, index };
}

/** The settings of an interface are those of the namespace in which the thread is: the step's. */
function setUpStepEnd(inside: Netlink, { subnet4, subnet6 }: LinkPlan, number: number): void {
  const { name, index } = stepEnd;
  stepEndSettings(name, subnet6 !== undefined);
  setUp(inside, index);
  for (const subnet of subnet6 === undefined ? [subnet4] : [subnet4, subnet6]) {
    addAddress(inside, index, nthAddress(subnet, number), nthAddress(subnet, 1));
    addDefaultRoute(inside, index, nthAddress(subnet, 1));
  }
}

/** The name of an interface says its number, so the kernel sees to it that no two links have one number. */
function takeLink(
  host: Netlink,
  namespace: number,
  { prefix, parity, subnet4, first, mtu }: LinkPlan,
): { name: string; number: number; index: number } {
  // The number 0 is the subnet's name, 1 the gateway, and the last one the broadcast address.
  const most = Math.floor((sizeOf(subnet4) - 3) / 2);
  for (let i = 0; i < most; i++) {
    const number = 2 + 2 * ((first + i) % most) + parity;
    const name = `${prefix}${number.toString(36)}`;
    try {
      return { name, number, index: makePair(host, name, namespace, mtu) };
    } catch (err) {
      if (errnoCode(err) !== 'EEXIST') throw err;
    }
  }
  throw fail('exhausted', 'exec', `all ${most} addresses of ${subnetText(subnet4)} are in use by steps`, {
    hint: 'Run fewer steps at once, or set a larger network-subnet.',
  });
}

/**
 * Makes a namespace that looks, to a program that takes a connection back, like one that is gone: an interface `eth0`
 * with the addresses. Returns its descriptor.
 */
export function standIn(addresses: readonly string[]): number {
  return inNewNetworkNamespace((fd) =>
    withNetlink((inside) => {
      makePair(inside, 'peer0', fd, 1500);
      for (const address of addresses) addAddress(inside, stepEnd.index, address, address);
    }),
  );
}
