/**
 * Connects steps by a process each that speaks to the outside for it with ordinary sockets: pasta (passt(1)) or
 * slirp4netns(1). It needs no rights on this host beyond those in the namespace.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fail } from '../errors/index.ts';
import { closeFd, Netlink } from '../linux/index.ts';
import { ipFamily } from '../words/index.ts';
import { runTask } from '../workers/index.ts';
import { parseSubnet, type Subnet } from './addresses.ts';
import { keepInside, wayOut } from './links.ts';
import type { Prepared, Provider } from './provider.ts';
import type { HostAccess } from './rules.ts';

interface PastaSettings {
  /** The folder for a file on which namespaces are mounted. */
  folder: string;
  denied: readonly string[];
  hostAccess: HostAccess;
  /** Addresses of this host that steps may ask which were given `host-gateway`; default: its first. */
  hostGateway?: readonly string[];
  mtu?: number;
}

/** How long the program may take to connect a namespace, ms. */
const patience = 10_000;
const path = `${process.env.PATH ?? ''}:/usr/local/bin:/usr/bin:/bin`;

/** The step's own address where it is not to have the host's, so that it can ask the host there. */
const inner = { address: '10.0.2.100', gateway: '10.0.2.2' };

/** Finds pasta or slirp4netns. Throws `unavailable` where neither is installed, or there is no /dev/net/tun. */
export async function openPasta(settings: PastaSettings): Promise<Provider> {
  const { folder, denied, hostAccess, hostGateway = [], mtu } = settings;
  const program = (['pasta', 'slirp4netns'] as const).find(isInstalled);
  if (program === undefined) {
    throw fail('unavailable', 'exec', 'neither pasta nor slirp4netns is installed', {
      hint: 'Install pasta (Debian: apt-get install passt).',
    });
  }
  if (!existsSync('/dev/net/tun')) {
    throw fail('unavailable', 'exec', `${program} needs /dev/net/tun, which is not here`, {
      hint: 'Give the container the device (--device /dev/net/tun), or load the module tun.',
    });
  }
  const place = join(folder, 'namespace');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(place, '');
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw fail('unavailable', 'exec', `${program} needs /dev/net/tun, which this user may not open`, {
      cause,
      hint: 'Let it be opened, as on most machines: chmod 666 /dev/net/tun.',
    });
  }
  const refused = denied.map((net) => parseSubnet(net, 'network-deny'));
  const running = new Set<ChildProcess>();
  return {
    hostAddress: hostAddresses()[0] ?? '127.0.0.1',
    subnets: [],
    async prepare(asksHost): Promise<Prepared> {
      const own = hostAddresses();
      const [hostAddress = '127.0.0.1'] = own;
      const mayAsk = (address: string) =>
        hostAccess === 'always' ||
        (hostAccess === 'asked' && asksHost && [hostAddress, ...hostGateway].includes(address));
      const prohibited: Subnet[] = [
        ...refused,
        ...own.filter((each) => !mayAsk(each)).map((each) => parseSubnet(each, 'address')),
      ];
      const {
        fd,
        dns,
        counters,
        watch = -1,
      } = await runTask('network.make', { prohibited }, { alone: true });
      const inside = new Netlink(watch);
      const letGo = () => {
        for (const each of [fd, dns.udp, dns.tcp, ...counters]) closeFd(each);
      };
      try {
        const { child, index } = await start(program, { fd, inside }, place, {
          otherAddress: hostAccess === 'always' || asksHost,
          mtu,
        });
        running.add(child);
        child.once('exit', () => running.delete(child));
        try {
          keepInside(inside, index, prohibited);
        } catch (err) {
          child.kill('SIGKILL');
          throw err;
        }
        const dispose = () => {
          child.kill('SIGKILL');
          closeFd(fd);
        };
        return { fd, dns, counters, hostAddress, hasV6: program === 'pasta', dispose };
      } catch (err) {
        letGo();
        throw err;
      } finally {
        inside.close();
      }
    },
    async close() {
      // Until they are gone, so that nothing is left when the builder is.
      await Promise.all(
        [...running].map((child) => {
          child.ref();
          return once(child, 'exit');
        }),
      );
    },
  };
}

function isInstalled(program: string): boolean {
  return path.split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, program)));
}

/** This host's own addresses, IPv4 first. */
function hostAddresses(): string[] {
  const all = Object.values(networkInterfaces())
    .flatMap((list = []) => list.filter(({ internal }) => !internal))
    .map(({ address }) => address)
    .filter((address) => !address.startsWith('fe80:'));
  // The links of root's steps all have one address.
  return [...new Set(all)].sort((a, b) => ipFamily(a) - ipFamily(b));
}

/** Starts the program for a namespace and waits until the namespace is connected. */
async function start(
  program: 'pasta' | 'slirp4netns',
  { fd, inside }: { fd: number; inside: Netlink },
  place: string,
  how: { otherAddress: boolean; mtu: number | undefined },
): Promise<{ child: ChildProcess; index: number }> {
  const args = program === 'pasta' ? pastaArgs(place, how) : slirpArgs(place, how);
  const child = spawn('setpriv', [...wrapper, place, program, ...args], {
    env: { PATH: path, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe', fd],
  });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-2000);
  });
  let ended: string | undefined;
  child.once('error', (err) => {
    ended = err.message;
  });
  child.once('exit', (code, signal) => {
    const lines = said.split('\n').filter((line) => line !== '' && !/ to syslog$/.test(line));
    ended = lines.at(-1) ?? `it ended with ${code ?? signal}`;
  });
  child.unref();
  const until = performance.now() + patience;
  for (let wait = 2; ; wait = Math.min(wait * 2, 50)) {
    if (ended !== undefined) throw fail('unavailable', 'exec', `${program}: ${ended}`);
    const index = wayOut(inside);
    if (index !== undefined) return { child, index };
    if (performance.now() > until) {
      child.kill('SIGKILL');
      throw fail('unavailable', 'exec', `${program} did not connect a namespace within ${patience / 1000} s`);
    }
    await sleep(wait);
  }
}

/**
 * Starts a program that dies with this process and finds the namespace of its file descriptor 3 at a path (the first
 * argument): mounted there, where nobody else sees it. The programs give up rights and descriptors before they open the
 * namespace, and with fewer rights than this process they cannot look into its /proc.
 */
const wrapper = [
  ...['--pdeathsig', 'KILL', '--', 'unshare', '--mount', '--propagation', 'private', '--'],
  ...['sh', '-c', 'mount --no-canonicalize --bind /proc/self/fd/3 "$0" && exec "$@"'],
];

function pastaArgs(place: string, { otherAddress, mtu }: Parameters<typeof start>[3]): string[] {
  return [
    ...[
      '--foreground',
      '--quiet',
      '--config-net',
      '--netns-only',
      '--runas',
      String(process.getuid?.() ?? 0),
    ],
    // Nothing of the host's loopback, neither by its ports nor behind the gateway's address.
    ...['--tcp-ports', 'none', '--udp-ports', 'none', '--tcp-ns', 'none', '--udp-ns', 'none', '--no-map-gw'],
    ...(otherAddress ? ['--address', inner.address, '--netmask', '24', '--gateway', inner.gateway] : []),
    ...(mtu === undefined ? [] : ['--mtu', String(mtu)]),
    ...['--netns', place],
  ];
}

/** IPv4 alone: its way out for IPv6 is a link-local router, and steps reach no link-local address. */
function slirpArgs(place: string, { mtu = 65_520 }: Pick<Parameters<typeof start>[3], 'mtu'>): string[] {
  return [
    ...['--configure', '--disable-host-loopback', '--disable-dns', '--mtu', String(mtu)],
    ...['--netns-type', 'path', place, 'eth0'],
  ];
}
