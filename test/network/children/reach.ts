/**
 * Runs on a host: makes the networks of two steps, and says what a process in the first one reaches. The host has a web
 * server on its loopback and one on all its addresses, an abstract socket, and a resolver on its loopback.
 */
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openBridge } from '../../../src/network/bridge.ts';
import type { FirewallTool } from '../../../src/network/firewall.ts';
import { createNetwork } from '../../../src/network/index.ts';
import { addresses } from '../two-hosts.ts';

interface Given {
  dir: string;
  options: Parameters<typeof createNetwork>[1];
  /** The tool that the rules are set with. They are there before the networks are made, which then use them. */
  tool?: FirewallTool;
  asksHost: boolean;
}

const run = promisify(execFile);
const { dir, options = {}, tool, asksHost } = JSON.parse(process.argv[2] as string) as Given;
const { denied, hostAccess } = options;

createServer((_, response) => response.end('loopback')).listen(8001, '127.0.0.1');
createServer((_, response) => response.end('host')).listen(8002, '::');
createSocketServer((socket) => socket.end('abstract')).listen('\0drydock-test');
const resolver = createSocket('udp4').on('message', (query, { port, address }) => {
  // The question, and one answer: its name at byte 12, type A, class IN, 60 s, 4 bytes.
  const answer = Buffer.concat([
    query.subarray(0, query.length),
    Buffer.from('c00c000100010000003c0004c6336402', 'hex'),
  ]);
  answer.writeUInt16BE(0x8180, 2);
  answer.writeUInt16BE(1, 6);
  resolver.send(answer, port, address);
});
resolver.bind(53, '127.0.0.1');

const shared = '/run/drydock/network';
const defaults = (await import('../../../src/network/types.ts')).defaultDenied;
const first =
  tool &&
  (await openBridge({
    folder: shared,
    subnets: [],
    denied: denied ?? defaults,
    hostAccess: hostAccess ?? 'asked',
    tools: [tool],
  }));
const networks = createNetwork(join(dir, 'network'), { dns: { nameservers: ['127.0.0.1'] }, ...options });
const step = await networks.acquire({ mode: 'default', asksHost });
const neighbour = await networks.acquire({ mode: 'default', asksHost: false });
const inside = (network: typeof step, ...command: string[]) =>
  run('nsenter', [`--net=${network.namespace}`, ...command], { encoding: 'utf8', timeout: 10_000 }).then(
    ({ stdout }) => stdout.trim(),
    () => 'no',
  );
const get = (url: string, ...flags: string[]) =>
  inside(step, 'curl', '-gsS', '--max-time', '2', ...flags, url);
/** The step's way out. */
const [, device = ''] = /default .*dev (\S+)/.exec(await inside(step, 'ip', 'route')) ?? [];

const address = (await inside(neighbour, 'ip', '-4', '-o', 'addr', 'show', 'scope', 'global')).match(
  /inet ([\d.]+)/,
)?.[1];
void inside(
  neighbour,
  'busybox',
  'timeout',
  '8',
  'busybox',
  'nc',
  '-lk',
  '-p',
  '8003',
  '-e',
  'echo',
  'neighbour',
);
const unix = `require('net').connect('\\0drydock-test').on('data', (d) => console.log(String(d))).on('error', () => console.log('no'))`;
const { host, host6, other, other6, metadata, metadata6, otherLink } = addresses;
const reached = {
  other: await get(`http://${other}/`),
  other6: await get(`http://[${other6}]/`),
  name: await inside(
    step,
    'sh',
    '-c',
    `busybox nslookup -type=a any.example ${step.resolv.split(/\s/)[1]} | tail -2`,
  ),
  ownLoopback: await get('http://127.0.0.1:8001/'),
  hostAddress: await get(`http://${host}:8002/`),
  hostAddress6: await get(`http://[${host6}]:8002/`),
  gateway: await get(`http://${step.hostGateway[0]}:8002/`),
  metadata: await get(`http://${metadata}/`),
  metadata6: await get(`http://[${metadata6}]/`),
  // A socket that is bound to an interface takes no other's routes.
  metadataBound: await get(`http://${metadata}/`, '--interface', `if!${device}`),
  metadata6Bound: await get(`http://[${metadata6}]/`, '--interface', `if!${device}`),
  linkLocal: await get(`http://[${otherLink}%25${device}]/`),
  abstractSocket: await inside(step, process.execPath, '-e', unix),
  neighbour: address && (await get(`http://${address}:8003/`)),
};
step.release();
neighbour.release();
await networks.close();
await first?.close();
console.log(JSON.stringify(reached));
process.exit(0);
