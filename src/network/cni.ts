/**
 * Connects steps by the plugins of a CNI configuration. What the plugins made is written down, for only they can take it
 * back: the next process does it for one that was killed.
 */
import { closeFd, Netlink } from '../linux/index.ts';
import { ipFamily } from '../words/index.ts';
import { runTask } from '../workers/index.ts';
import { parseSubnet } from './addresses.ts';
import { leasedAddresses, resultOf } from './cni-leases.ts';
import { addCni, type CniResult, deleteCni, readCniConfig } from './cni-plugins.ts';
import { CniRecords } from './cni-records.ts';
import { keepInside, wayOut } from './links.ts';
import type { Prepared, Provider } from './provider.ts';

interface CniSettings {
  /** The folder of the records; the processes of one root share it. */
  folder: string;
  configPath: string;
  binaryPath: string;
  denied: readonly string[];
}

const loopback = '127.0.0.1';

/** Reads the configuration. Throws `not-found`, `invalid`. */
export async function openCni({ folder, configPath, binaryPath, denied }: CniSettings): Promise<Provider> {
  const config = readCniConfig(configPath);
  const records = new CniRecords(folder);
  const prohibited = denied.map((net) => parseSubnet(net, 'network-deny'));
  const ending = new Set<Promise<void>>();
  return {
    hostAddress: loopback,
    subnets: [],
    async prepare(): Promise<Prepared> {
      const {
        fd,
        dns,
        counters,
        watch = -1,
      } = await runTask('network.make', { prohibited }, { alone: true });
      const inside = new Netlink(watch);
      const record = records.add({ config, binaryPath });
      const place = {
        containerId: record.containerId,
        netns: `/proc/${process.pid}/fd/${fd}`,
        binaryPath,
        calls: records.calls,
      };
      let told: CniResult | undefined;
      /** Has the plugins take everything back. What they cannot now, they are asked again at the next start. */
      const disconnect = async () => {
        const leased = told === undefined ? leasedAddresses(config, place.containerId) : [];
        try {
          await deleteCni(config, place, told ?? resultOf(config, leased, place.netns));
          record.remove();
        } catch {
          // Plugins that never got anywhere have nothing to take back, and will not learn to.
          if (told === undefined && leased.length === 0) record.remove();
        }
      };
      try {
        await addCni(config, place, (result) => {
          told = result;
          record.write(result);
        });
        const index = wayOut(inside);
        if (index !== undefined) keepInside(inside, index, prohibited);
        const { ips = [] }: CniResult = told ?? {};
        const dispose = () => {
          const end = disconnect().finally(() => {
            closeFd(fd);
            ending.delete(end);
          });
          ending.add(end);
        };
        return {
          fd,
          dns,
          counters,
          hostAddress: ips.find(({ gateway }) => gateway !== undefined)?.gateway ?? loopback,
          hasV6: ips.some(({ address }) => ipFamily(address.split('/')[0] ?? '') === 6),
          dispose,
        };
      } catch (err) {
        await disconnect();
        for (const each of [fd, dns.udp, dns.tcp, ...counters]) closeFd(each);
        throw err;
      } finally {
        inside.close();
      }
    },
    async close() {
      await Promise.all(ending);
      records.close();
    },
  };
}
