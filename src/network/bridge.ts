/** Connects steps by a pair of interfaces each, routed and translated (NAT) by this host's kernel. */
import { closeFd } from '../linux/index.ts';
import { runTask } from '../workers/index.ts';
import { nthAddress } from './addresses.ts';
import type { FirewallTool } from './firewall.ts';
import type { Prepared, Provider } from './provider.ts';
import { type HostAccess, prefixesOf } from './rules.ts';
import { hostRoutes, packetSize } from './uplinks.ts';

interface BridgeSettings {
  folder: string;
  subnets: readonly string[];
  denied: readonly string[];
  hostAccess: HostAccess;
  /** Addresses of this host, besides the links' own, that steps may ask which were given `host-gateway`. */
  hostGateway?: readonly string[];
  mtu?: number;
  /** The tools that may set the rules; default: all that are known. */
  tools?: readonly FirewallTool[];
}

/** Sets the rules, if no other process has. Throws what `joinShared` throws. */
export async function openBridge(settings: BridgeSettings): Promise<Provider> {
  const { mtu, ...sharing } = settings;
  const shared = await runTask('network.join', sharing, { waits: true });
  const { key, folder, subnet4, subnet6 } = shared;
  const prefixes = prefixesOf(key);
  const hostAddress = nthAddress(subnet4, 1);
  let last = process.pid;
  return {
    hostAddress,
    subnets: subnet6 === undefined ? [subnet4] : [subnet4, subnet6],
    async prepare(asksHost): Promise<Prepared> {
      const link = {
        prefix: asksHost ? prefixes.asking : prefixes.plain,
        parity: asksHost ? 1 : 0,
        subnet4,
        subnet6,
        mtu: mtu ?? packetSize(hostRoutes().uplinks),
        first: ++last,
      } as const;
      const made = await runTask('network.make', { link, folder }, { waits: true });
      return {
        fd: made.fd,
        hostAddress,
        dns: made.dns,
        counters: made.counters,
        hasV6: subnet6 !== undefined,
        // The pair goes with the namespace, and the namespace with its last descriptor.
        dispose: () => closeFd(made.fd),
      };
    },
    close: () => runTask('network.leave', shared, { waits: true }),
  };
}
