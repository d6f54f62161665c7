/** Tells which registries are spoken to without TLS, or with a certificate that cannot be verified. */
import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { fail } from '../errors/index.ts';
import { endpointOf, hostname } from './hosts.ts';

/** A list of insecure registries, divided into hosts by name and networks of addresses. */
interface InsecureNames {
  hosts: string[];
  /** `192.168.1.0/24` */
  networks: string[];
}

/**
 * Parses `HOST[:PORT]`, as in references, or a network as `ADDRESS/BITS`. A scheme before a host is ignored, as in
 * dockerd. Throws `invalid` for anything else, which would match no registry.
 */
export function parseInsecure(names: readonly string[]): InsecureNames {
  const parsed: InsecureNames = { hosts: [], networks: [] };
  for (const name of names) {
    const network = /^([0-9A-Fa-f.:]+)\/(\d{1,3})$/.exec(name);
    const version = isIP(network?.[1] ?? '');
    if (version !== 0 && Number(network?.[2]) <= (version === 4 ? 32 : 128)) {
      parsed.networks.push(name);
      continue;
    }
    const host = name.replace(/^https?:\/\//, '').replace(/\/$/, '');
    if (!/^([\w.-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?$/.test(host)) {
      throw fail('invalid', 'client', `the insecure registry ${JSON.stringify(name)} is no host`, {
        hint: 'Write it as registry.example:5000, or a network as 192.168.1.0/24.',
      });
    }
    parsed.hosts.push(host);
  }
  return parsed;
}

/**
 * Answers for hosts. When networks are listed, a name is looked up each time, since its addresses may change. Networks
 * never hold Docker Hub, as in dockerd.
 */
export class InsecureHosts {
  readonly #hosts: ReadonlySet<string>;
  readonly #networks: BlockList | undefined;

  /** Throws `invalid` as `parseInsecure` does. */
  constructor(names: readonly string[]) {
    const { hosts, networks } = parseInsecure(names);
    this.#hosts = new Set(hosts);
    if (networks.length === 0) return;
    this.#networks = new BlockList();
    for (const network of networks) {
      const [address = '', bits] = network.split('/');
      this.#networks.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4');
    }
  }

  /** Whether a host, with or without port, is listed or has an address in a listed network. */
  async has(host: string): Promise<boolean> {
    if (this.#hosts.has(host)) return true;
    const networks = this.#networks;
    // Whoever answers for names must not choose that a password goes to Docker Hub without TLS.
    if (networks === undefined || host === endpointOf('docker.io').host) return false;
    const name = hostname(host);
    const addresses =
      isIP(name) !== 0 ? [{ address: name }] : await lookup(name, { all: true }).catch(() => []);
    return addresses.some(({ address }) => networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'));
  }
}
