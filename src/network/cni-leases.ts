/** The addresses of a container whose connection was cut short: the plugins have not told them, but one wrote them down. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readText } from '../linux/index.ts';
import { ipFamily } from '../words/index.ts';
import type { CniConfig, CniResult } from './cni-plugins.ts';

/** The folder of the plugin host-local, unless its configuration names another one. */
const usualFolder = '/var/lib/cni/networks';

/**
 * The addresses that the plugin host-local has given a container, and those that the plugin static would give it.
 * host-local has a folder for each network, and in it a file for each address in use: the container's ID stands in its
 * first line. https://www.cni.dev/plugins/current/ipam/host-local/
 */
export function leasedAddresses({ name, plugins }: CniConfig, containerId: string): string[] {
  const found = plugins.flatMap(({ ipam }) => {
    const { type, dataDir, addresses } = (ipam ?? {}) as Record<string, unknown>;
    if (type === 'static' && Array.isArray(addresses)) {
      return addresses.map((each) => String((each as { address?: unknown }).address).split('/')[0] ?? '');
    }
    const folder = join(typeof dataDir === 'string' && dataDir !== '' ? dataDir : usualFolder, name);
    return leasesIn(folder).filter(
      (address) =>
        readText(join(folder, address))
          .split(/[\r\n]/)[0]
          ?.trim() === containerId,
    );
  });
  return [...new Set(found)].filter((address) => ipFamily(address) !== 0);
}

function leasesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => ipFamily(name) !== 0);
  } catch {
    // Its addresses are not from there.
    return [];
  }
}

/**
 * The answer that a chain of plugins would have given for the addresses, as far as plugins that take rules back by it want
 * it. Undefined where there are none, and for versions before 0.3, which have another form.
 */
export function resultOf(
  { cniVersion }: CniConfig,
  addresses: readonly string[],
  netns: string,
): CniResult | undefined {
  const [major = 0, minor = 0] = cniVersion.split('.').map(Number);
  if (addresses.length === 0 || (major === 0 && minor < 3)) return undefined;
  return {
    cniVersion,
    interfaces: [{ name: 'eth0', sandbox: netns }],
    ips: addresses.map((address) => {
      const family = ipFamily(address);
      const cidr = `${address}/${family === 4 ? 32 : 128}`;
      return { ...(major === 0 ? { version: String(family) } : {}), interface: 0, address: cidr };
    }),
  };
}
