/** Reads an operator's settings of the networks of steps from text. Pure. */
import { fail, nearest } from '../errors/index.ts';
import { ipFamily } from '../words/index.ts';
import { parseSubnet } from './addresses.ts';
import type { HostAccess } from './rules.ts';
import type { NetworkMode, NetworkOptions } from './types.ts';

const modes: readonly NetworkMode[] = ['auto', 'bridge', 'cni', 'pasta', 'host', 'none'];
const hostAccesses: readonly HostAccess[] = ['never', 'asked', 'always'];

/** The settings, by their names in a daemon's configuration. */
const readers = {
  'network-mode': (name, text) => ({ mode: oneOf(name, text, modes) }),
  'network-subnet': (name, text) => ({ subnets: subnetsOf(name, text) }),
  'network-deny': (name, text) => ({ denied: text === 'none' ? [] : networksOf(name, text) }),
  'network-host-access': (name, text) => ({ hostAccess: oneOf(name, text, hostAccesses) }),
  'network-host-gateway': (name, text) => ({ hostGateway: addressesOf(name, text) }),
  'network-mtu': (name, text) => ({ mtu: packetSizeOf(name, text) }),
  'network-pool-size': (name, text) => ({ poolSize: countOf(name, text) }),
  'network-cni-config': (_name, text) => ({ cni: { configPath: text } }),
  'network-cni-plugins': (_name, text) => ({ cni: { binaryPath: text } }),
  'network-name': (name, text) => ({ named: namedOf(name, text) }),
} as const satisfies Record<string, (name: string, text: string) => NetworkOptions>;

export type NetworkSetting = keyof typeof readers;

/**
 * Reads the settings. `textOf` returns a setting's text (a list with commas), `undefined` or `''` where it is not set,
 * and `nameOf` the name by which an error calls it. Throws `invalid`.
 */
export function networkOptions(
  textOf: (setting: NetworkSetting) => string | undefined,
  nameOf: (setting: NetworkSetting) => string = (setting) => setting,
): NetworkOptions {
  const found: NetworkOptions = {};
  for (const [setting, read] of Object.entries(readers) as [
    NetworkSetting,
    (typeof readers)[NetworkSetting],
  ][]) {
    const text = textOf(setting);
    if (text === undefined || text === '') continue;
    const { cni, ...rest }: NetworkOptions = read(nameOf(setting), text);
    Object.assign(found, rest);
    if (cni !== undefined) found.cni = { ...found.cni, ...cni };
  }
  return found;
}

/** Reads the settings from the environment: `DRYDOCK_NETWORK_MODE` and so on. Throws `invalid`. */
export function networkFromEnv(env: NodeJS.ProcessEnv): NetworkOptions {
  const nameOf = (setting: NetworkSetting) => `DRYDOCK_${setting.toUpperCase().replaceAll('-', '_')}`;
  return networkOptions((setting) => env[nameOf(setting)], nameOf);
}

function oneOf<T extends string>(name: string, text: string, known: readonly T[]): T {
  const found = known.find((each) => each === text);
  if (found !== undefined) return found;
  const like = nearest(text, known);
  throw fail('invalid', 'client', `invalid ${name} ${JSON.stringify(text)}: want ${known.join(', ')}`, {
    hint: like && `Did you mean ${like}?`,
  });
}

function listOf(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function networksOf(name: string, text: string): string[] {
  const list = listOf(text);
  for (const net of list) parseSubnet(net, name);
  return list;
}

/** One network for each family, with room for some steps. */
function subnetsOf(name: string, text: string): string[] {
  const list = networksOf(name, text);
  const subnets = list.map((net) => parseSubnet(net, name));
  for (const [i, { family, bits }] of subnets.entries()) {
    if (subnets.findIndex((each) => each.family === family) !== i) {
      throw fail('invalid', 'client', `${name}: want one network of IPv4 and one of IPv6 at most`);
    }
    const [least, most] = family === 4 ? [8, 28] : [16, 120];
    if (bits < least || bits > most) {
      throw fail('invalid', 'client', `${name}: ${list[i]} must have a prefix of ${least} to ${most} bits`);
    }
  }
  return list;
}

/** One address of IPv4, one of IPv6, or both: IPv4 comes first. */
function addressesOf(name: string, text: string): string[] {
  const list = listOf(text).map((each) => each.replace(/^\[(.*)\]$/, '$1'));
  const families = list.map(ipFamily);
  if (families.includes(0) || new Set(families).size !== list.length) {
    throw fail(
      'invalid',
      'client',
      `invalid ${name} ${JSON.stringify(text)}: want an address of IPv4, of IPv6, or both`,
    );
  }
  return list.sort((a, b) => ipFamily(a) - ipFamily(b));
}

/** IPv6 wants 1280 bytes at least. */
function packetSizeOf(name: string, text: string): number {
  const size = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (size >= 1280 && size <= 65_535) return size;
  throw fail(
    'invalid',
    'client',
    `invalid ${name} ${JSON.stringify(text)}: want a number from 1280 to 65535`,
  );
}

function countOf(name: string, text: string): number {
  if (/^\d{1,4}$/.test(text) && Number(text) <= 1000) return Number(text);
  throw fail('invalid', 'client', `invalid ${name} ${JSON.stringify(text)}: want a number from 0 to 1000`);
}

function namedOf(name: string, text: string): Record<string, string> {
  const reserved = ['default', 'host', 'none', 'bridge'];
  return Object.fromEntries(
    listOf(text).map((item) => {
      const at = item.indexOf('=');
      const key = item.slice(0, Math.max(at, 0));
      const isName = /^[A-Za-z0-9][\w.-]*$/.test(key) && !reserved.includes(key);
      if (isName && item.length > at + 1) return [key, item.slice(at + 1)];
      throw fail('invalid', 'client', `${name}: ${JSON.stringify(item)} is no NAME=FILE`, {
        hint: `Name a CNI configuration: lab=/etc/cni/net.d/lab.conflist. The names ${reserved.join(', ')} are taken.`,
      });
    }),
  );
}
