/**
 * Connects steps by the plugins of a CNI configuration. What the plugins made is written down, for only they can take it
 * back: the next process does it for one that was killed.
 */

import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { closeFd, Netlink, openLock, tryLock } from '../linux/index.ts';
import { runTask } from '../workers/index.ts';
import { parseSubnet } from './addresses.ts';
import { addCni, type CniConfig, type CniResult, deleteCni, readCniConfig } from './cni-plugins.ts';
import { keepInside, wayOut } from './links.ts';
import type { Prepared, Provider } from './provider.ts';

interface CniSettings {
  /** The folder of the records; the processes of one root share it. */
  folder: string;
  configPath: string;
  binaryPath: string;
  denied: readonly string[];
}

interface CniRecord {
  config: CniConfig;
  binaryPath: string;
  result: CniResult;
}

const loopback = '127.0.0.1';

/** Reads the configuration, and disconnects what killed processes left. Throws `not-found`, `invalid`. */
export async function openCni({ folder, configPath, binaryPath, denied }: CniSettings): Promise<Provider> {
  const config = readCniConfig(configPath);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  await sweepCni(folder);
  const owner = randomUUID();
  const lockPath = join(folder, `${owner}.owner`);
  let lock = openLock(lockPath);
  // A sweep of another process may just have taken the new file away.
  while (!tryLock(lock) || !existsSync(lockPath)) {
    closeFd(lock);
    lock = openLock(lockPath);
  }
  const prohibited = denied.map((net) => parseSubnet(net, 'network-deny'));
  const ending = new Set<Promise<void>>();
  let last = 0;
  return {
    hostAddress: loopback,
    subnets: [],
    async prepare(): Promise<Prepared> {
      const containerId = `drydock-${owner}-${++last}`;
      const file = join(folder, `${owner}-${last}.json`);
      const { fd, dns, watch = -1 } = await runTask('network.make', { prohibited }, { alone: true });
      const inside = new Netlink(watch);
      const place = { containerId, netns: `/proc/${process.pid}/fd/${fd}`, binaryPath };
      const write = (result: CniResult) =>
        writeFileSync(file, JSON.stringify({ config, binaryPath, result } satisfies CniRecord), {
          mode: 0o600,
        });
      try {
        write({});
        const result = await addCni(config, place);
        write(result);
        const index = wayOut(inside);
        try {
          if (index !== undefined) keepInside(inside, index, prohibited);
        } catch (err) {
          await deleteCni(config, place, result);
          throw err;
        }
        const ips = result.ips ?? [];
        const dispose = () => {
          const end = deleteCni(config, place, result)
            .then(
              () => rmSync(file, { force: true }),
              // The next start tries it again.
              () => {},
            )
            .finally(() => {
              closeFd(fd);
              ending.delete(end);
            });
          ending.add(end);
        };
        return {
          fd,
          dns,
          hostAddress: ips.find(({ gateway }) => gateway !== undefined)?.gateway ?? loopback,
          hasV6: ips.some(({ address }) => isIP(address.split('/')[0] ?? '') === 6),
          dispose,
        };
      } catch (err) {
        rmSync(file, { force: true });
        for (const each of [fd, dns.udp, dns.tcp]) closeFd(each);
        throw err;
      } finally {
        inside.close();
      }
    },
    async close() {
      await Promise.all(ending);
      closeFd(lock);
      rmSync(lockPath, { force: true });
    },
  };
}

/**
 * Disconnects the namespaces of processes that died. The namespaces themselves went with them, and plugins such as
 * `bridge` take their rules back by the addresses that they find in one: so they get another with the same addresses.
 */
async function sweepCni(folder: string): Promise<void> {
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.owner'))) {
    const owner = name.slice(0, -'.owner'.length);
    const lock = openLock(join(folder, name));
    try {
      if (!tryLock(lock)) continue;
      const records = readdirSync(folder).filter(
        (each) => each.startsWith(`${owner}-`) && each.endsWith('.json'),
      );
      for (const record of records) {
        const number = record.slice(owner.length + 1, -'.json'.length);
        const { config, binaryPath, result } = JSON.parse(
          readFileSync(join(folder, record), 'utf8'),
        ) as CniRecord;
        const addresses = (result.ips ?? []).map(({ address }) => address.split('/')[0] ?? '');
        const fd = await runTask('network.standIn', addresses, { waits: true });
        const netns = `/proc/${process.pid}/fd/${fd}`;
        const place = { containerId: `drydock-${owner}-${number}`, netns, binaryPath };
        await deleteCni(config, place, result).finally(() => closeFd(fd));
        rmSync(join(folder, record), { force: true });
      }
      rmSync(join(folder, name), { force: true });
    } catch {
      // A plugin fails now: the next start tries it again.
    } finally {
      closeFd(lock);
    }
  }
}
