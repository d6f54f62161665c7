/** Makes the /etc/resolv.conf that a step sees (resolv.conf(5)). Pure, but for reading the host's. */

import { fail } from '../errors/index.ts';
import { readText } from '../linux/index.ts';
import { ipFamily } from '../words/index.ts';
import { isIn, parseSubnet, type Subnet } from './addresses.ts';

/**
 * An operator's resolver settings, in the place of those in the host's resolv.conf. A setting that is missing or empty
 * stays the host's.
 */
export interface DnsConfig {
  nameservers?: readonly string[];
  options?: readonly string[];
  searchDomains?: readonly string[];
}

/** The address in a step's namespace at which the host's resolvers are asked for it. */
export const forwarderAddress = '127.0.0.11';

/** What a step's resolver is told. */
export interface Resolving {
  /** The text of resolv.conf. */
  text: string;
  /** The nameservers that a forwarder has to ask; undefined: the step asks its nameservers itself. */
  forwardTo: string[] | undefined;
}

const loopback = ['127.0.0.0/8', '::1/128', '0.0.0.0/8', '169.254.0.0/16', 'fe80::/10'].map((net) =>
  parseSubnet(net, 'loopback'),
);

/** Throws `invalid` for a nameserver that is no address, and for text that would be more than its place in the file. */
export function checkDns({ nameservers = [], options = [], searchDomains = [] }: DnsConfig): void {
  for (const server of nameservers) {
    if (ipFamily(server.replace(/%[\w.-]+$/, '')) === 0)
      throw fail('invalid', 'client', `the nameserver ${JSON.stringify(server)} is no address`);
  }
  const words: [what: string, texts: readonly string[]][] = [
    ['resolver option', options],
    ['search domain', searchDomains],
  ];
  for (const [what, texts] of words) {
    const wrong = texts.find((text) => !/^[^\s\0]+$/.test(text));
    if (wrong !== undefined) throw fail('invalid', 'client', `${JSON.stringify(wrong)} is no ${what}`);
  }
}

/** The host's file with an operator's settings in the place of its own. */
export function settledResolv(host: string, dns: DnsConfig = {}): string {
  const own: [RegExp, string[]][] = [];
  const { nameservers = [], options = [], searchDomains = [] } = dns;
  if (nameservers.length > 0) own.push([/^\s*nameserver\s/, nameservers.map((at) => `nameserver ${at}`)]);
  if (searchDomains.length > 0) own.push([/^\s*(search|domain)\s/, [`search ${searchDomains.join(' ')}`]]);
  if (options.length > 0) own.push([/^\s*options\s/, [`options ${options.join(' ')}`]]);
  if (own.length === 0) return host;
  const rest = host.split('\n').filter((line) => line !== '' && !own.some(([kind]) => kind.test(line)));
  return `${[...own.flatMap(([, lines]) => lines), ...rest].join('\n')}\n`;
}

/**
 * The resolver's settings for a step with a network of its own. A nameserver on the host's loopback (systemd-resolved,
 * dnsmasq) or in a network that steps must not reach cannot be asked from there: then a forwarder in the namespace is
 * the only nameserver, and asks all of the host's in their order. Search domains and options are kept.
 */
export function resolvingFor(settled: string, unreachable: readonly Subnet[]): Resolving {
  const servers = nameserversOf(settled);
  const beyond = [...loopback, ...unreachable];
  // Without any, a resolver asks the one on its own host.
  const asked = servers.length > 0 ? servers : ['127.0.0.1'];
  if (!asked.some((server) => beyond.some((net) => isIn(server, net)))) {
    return { text: settled, forwardTo: undefined };
  }
  const rest = settled.split('\n').filter((line) => line !== '' && !/^\s*nameserver\s/.test(line));
  return { text: `${[`nameserver ${forwarderAddress}`, ...rest].join('\n')}\n`, forwardTo: asked };
}

/** The nameservers of a resolv.conf. */
export function nameserversOf(text: string): string[] {
  return text.split('\n').flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
}

/** The text of the host's resolv.conf; '' when it has none. */
export function hostResolv(): string {
  return readText('/etc/resolv.conf');
}
