/** Makes the /etc/hosts and /etc/resolv.conf that a step sees. Pure, but for reading the host's resolv.conf. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { fail } from '../errors/index.ts';

interface ExtraHost {
  host: string;
  ip: string;
}

/**
 * The text of /etc/hosts. `host-gateway` is the host's address as the step sees it: 127.0.0.1, for the step shares the
 * host's network. Throws `invalid` for text that is no address.
 */
export function hostsFile(hostname: string, extra: readonly ExtraHost[]): string {
  const rows = [
    `127.0.0.1\tlocalhost ${hostname}`,
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
  ];
  for (const { host, ip } of extra) {
    const address = (ip === 'host-gateway' ? '127.0.0.1' : ip).replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) === 0 || !/^[^\s#]+$/.test(host)) {
      throw fail('invalid', 'exec', `invalid extra host ${JSON.stringify(`${host}:${ip}`)}`, {
        hint: 'Write --add-host NAME:ADDRESS, with an IP address or host-gateway.',
      });
    }
    rows.push(`${address}\t${host}`);
  }
  return `${rows.join('\n')}\n`;
}

/**
 * An operator's resolver settings, in the place of those in the host's resolv.conf. A setting that is missing or empty
 * stays the host's.
 */
export interface DnsConfig {
  nameservers?: readonly string[];
  options?: readonly string[];
  searchDomains?: readonly string[];
}

/**
 * The text of /etc/resolv.conf. With the host's network, the host's own file holds as it is. In another network, a
 * nameserver on the host's loopback (systemd-resolved's stub, dnsmasq) cannot be reached and is left out. The settings
 * in `dns` take the place of the host's.
 */
export function resolvFile(host: string, sharesHostNetwork: boolean, dns: DnsConfig = {}): string {
  const own: [RegExp, string[]][] = [];
  const { nameservers = [], options = [], searchDomains = [] } = dns;
  if (nameservers.length > 0) own.push([/^\s*nameserver\s/, nameservers.map((at) => `nameserver ${at}`)]);
  if (searchDomains.length > 0) own.push([/^\s*(search|domain)\s/, [`search ${searchDomains.join(' ')}`]]);
  if (options.length > 0) own.push([/^\s*options\s/, [`options ${options.join(' ')}`]]);
  if (own.length > 0) {
    const rest = host.split('\n').filter((line) => line !== '' && !own.some(([kind]) => kind.test(line)));
    return `${[...own.flatMap(([, lines]) => lines), ...rest].join('\n')}\n`;
  }
  if (sharesHostNetwork) return host;
  const kept = host.split('\n').filter((line) => {
    const server = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    return server === undefined || !(server.startsWith('127.') || server === '::1');
  });
  return kept.join('\n');
}

/** The text of the host's resolv.conf; '' when it has none. */
export function hostResolv(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}
