/**
 * Runs on a host: makes the networks of two steps, and says what the host and the second step hear of datagrams that the
 * first one sends in the name of another host, to which both talk.
 */
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { bytesOfAddress } from '../../../src/network/addresses.ts';
import { openBridge } from '../../../src/network/bridge.ts';
import type { FirewallTool } from '../../../src/network/firewall.ts';
import { createNetwork } from '../../../src/network/index.ts';
import { defaultDenied } from '../../../src/network/types.ts';
import { addresses } from '../two-hosts.ts';

const run = promisify(execFile);
const { dir, tool } = JSON.parse(process.argv[2] as string) as { dir: string; tool: FirewallTool };
const { host, host6, other, other6 } = addresses;
const pairs = [
  [host, other],
  [host6, other6],
] as const;
/** The ports of the host, of the second step, and of the other host. */
const [hostPort, stepPort, otherPort] = [5000, 5001, 5300];

// As Ubuntu has it: an interface's own, stricter setting does not count.
writeFileSync('/proc/sys/net/ipv4/conf/all/rp_filter', '2');
const settings = {
  folder: '/run/drydock/network',
  subnets: [],
  denied: defaultDenied,
  hostAccess: 'asked',
} as const;
const first = await openBridge({ ...settings, tools: [tool] });
const networks = createNetwork(join(dir, 'network'), { mode: 'bridge' });
const [attacker, victim] = [
  await networks.acquire({ mode: 'default', asksHost: false }),
  await networks.acquire({ mode: 'default', asksHost: false }),
];
const inside = async (network: typeof attacker, command: string, ...args: string[]) =>
  (await run('nsenter', [`--net=${network.namespace}`, command, ...args], { timeout: 10_000 })).stdout;

const heard: string[] = [];
for (const [own, peer] of pairs) {
  const socket = createSocket(isIP(own) === 4 ? 'udp4' : 'udp6');
  socket.on('message', (message) => heard.push(`the host: ${message}`)).on('error', () => {});
  await new Promise<void>((resolve) => socket.bind(hostPort, own, resolve));
  await new Promise<void>((resolve) => socket.connect(otherPort, peer, resolve));
  socket.send('a question');
}
const asking = `
  const heard = [];
  for (const [type, peer] of [['udp4', '${other}'], ['udp6', '${other6}']]) {
    const socket = require('dgram').createSocket(type).on('error', () => {});
    socket.on('message', (message) => heard.push('a step: ' + message));
    socket.bind(${stepPort}, () => socket.send('a question', ${otherPort}, peer));
  }
  setTimeout(() => { console.log(JSON.stringify(heard)); process.exit(); }, 2500);`;
const asked = inside(victim, process.execPath, '-e', asking);
await sleep(1000);

// The neighbour's address is known from then on.
await Promise.all(
  pairs.map(([, peer]) =>
    inside(attacker, 'curl', '-gsS', `http://${isIP(peer) === 6 ? `[${peer}]` : peer}/`),
  ),
);
for (const [own, peer] of pairs) {
  for (const port of [hostPort, stepPort]) {
    await inside(attacker, 'perl', '-e', sending(own), datagram(peer, own, port, 'forged').toString('hex'));
  }
}
heard.push(...(JSON.parse(await asked) as string[]));
attacker.release();
victim.release();
await networks.close();
await first.close();
console.log(JSON.stringify(heard));
process.exit(0);

/** Perl that sends a packet (hex) as it is. */
function sending(to: string): string {
  const [family, place] =
    isIP(to) === 4
      ? ['AF_INET', `sockaddr_in(0, inet_aton('${to}'))`]
      : ['AF_INET6', `pack_sockaddr_in6(0, Socket::inet_pton(AF_INET6, '${to}'))`];
  return `use Socket qw(:DEFAULT pack_sockaddr_in6 AF_INET6); socket(my $s, ${family}, 3, 255) or die; send($s, pack("H*", $ARGV[0]), 0, ${place}) or die;`;
}

/** A whole packet: a header of IPv4 (RFC 791) or IPv6 (RFC 8200), and a UDP datagram (RFC 768). */
function datagram(from: string, to: string, port: number, text: string): Buffer {
  const [source, destination] = [bytesOfAddress(from), bytesOfAddress(to)];
  const body = Buffer.concat([Buffer.alloc(8), Buffer.from(text)]);
  body.writeUInt16BE(otherPort, 0);
  body.writeUInt16BE(port, 2);
  body.writeUInt16BE(body.length, 4);
  const udp = 17;
  const pseudo = Buffer.alloc(4);
  pseudo.writeUInt16BE(udp, 0);
  pseudo.writeUInt16BE(body.length, 2);
  body.writeUInt16BE(checksum(Buffer.concat([source, destination, pseudo, body])), 6);
  if (source.length === 4) {
    const header = Buffer.from('450000000001000040110000', 'hex');
    header.writeUInt16BE(20 + body.length, 2);
    return Buffer.concat([header, source, destination, body]);
  }
  const header = Buffer.from('6000000000001140', 'hex');
  header.writeUInt16BE(body.length, 4);
  return Buffer.concat([header, source, destination, body]);
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
