/** The networks of steps, as a build has them. test/network says what a step reaches in them. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { build, type DockerfileOptions } from '../../src/sdk/build.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';

const builds = new Builds();
let server: Server;
let port: number;
beforeAll(async () => {
  await builds.open();
  server = createServer((_, response) => response.end('this host'));
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(async () => {
  server.close();
  await builds.close();
  await closePool();
});

/** A step that notes the answer of this host's web server at an address, or that there is none. */
const ask = (address: string, flags = '') =>
  `RUN ${flags} (timeout 5 wget -q -O - http://${address}:${port}/ || echo nothing) > /tmp/said`;

const own = Object.values(networkInterfaces())
  .flat()
  .find((each) => each?.family === 'IPv4' && !each.internal)?.address as string;

describe('by default a step has a network of its own', () => {
  test.each(['127.0.0.1', own])('in which this host is not to be found at %s', async (address) => {
    expect((await builds.build(ask(address))).read('/tmp/said')).toBe('nothing\n');
  });

  test('and the host is where the build has put it', async () => {
    const { read } = await builds.build(ask('machine'), {}, { extraHosts: { machine: 'host-gateway' } });
    expect(read('/tmp/said')).toBe('this host');
    const { hostAddress } = await builds.engine.network.look();
    // As clients write it that look the address up.
    const other = await builds.build(ask('there'), {}, { extraHosts: { there: hostAddress } });
    expect(other.read('/tmp/said')).toBe('this host');
  });

  test('its resolver is the host’s, and its interface has room for no more than the host’s', async () => {
    const { read } = await builds.build(
      'RUN cat /etc/resolv.conf > /tmp/r; cat /sys/class/net/*/mtu | sort -n > /tmp/m',
    );
    expect(read('/tmp/r')).toMatch(/^nameserver /m);
    const [mtu] = read('/tmp/m').split('\n').map(Number);
    expect(mtu).toBeLessThanOrEqual(1500);
  });
});

test('--network=host is granted, or refused by name; none has nothing but a loopback', async () => {
  const asking = ask('127.0.0.1', '--network=host');
  const { read } = await builds.build(asking, {}, { allow: ['network.host'] });
  expect(read('/tmp/said')).toBe('this host');
  await expect(builds.build(asking)).rejects.toMatchObject({
    code: 'denied',
    message: expect.stringContaining('entitlement network.host is not allowed'),
  });
  const alone = await builds.build('RUN --network=none ls /sys/class/net > /tmp/links');
  expect(alone.read('/tmp/links')).toBe('lo\n');
});

describe('an operator’s settings', () => {
  /** Builds with other networks, on the same root. */
  async function under(network: object, text: string, options: Partial<DockerfileOptions> = {}) {
    const engine = await openEngine({ root: join(builds.dir, 'root'), network });
    const warnings: { short: string; detail: string[] }[] = [];
    try {
      await build({
        context: builds.dir,
        dockerfileText: `FROM base\n${text}\n`,
        noCache: true,
        engine,
        progress: { warning: (warning) => void warnings.push(warning) },
        ...options,
      });
      return warnings;
    } finally {
      await engine.close();
    }
  }

  test('network-mode=host: steps share the host’s network, and nothing is said of it', async () => {
    expect(await under({ mode: 'host' }, `RUN wget -q -O /dev/null http://127.0.0.1:${port}/`)).toEqual([]);
  });

  test.each(['bridge', 'pasta'])(
    'what host-gateway stands for, and the size of packets (%s)',
    async (mode) => {
      const network = { mode, hostGateway: [own, '2001:db8::1'], mtu: 1300 };
      const text = [
        ask('machine'),
        'RUN [ "$(cat /tmp/said)" = "this host" ] && [ "$(cat /sys/class/net/[!l]*/mtu)" = 1300 ]',
        `RUN [ "$(grep machine /etc/hosts)" = "$(printf '${own}\\tmachine\\n2001:db8::1\\tmachine')" ]`,
      ].join('\n');
      await under(network, text, { extraHosts: { machine: 'host-gateway' } });
      // As clients write it that look the address up; who was not given it does not get there.
      await under(network, `${ask('m')}\nRUN grep host /tmp/said`, { extraHosts: { m: own } });
      await under(network, `${ask(own)}\nRUN grep nothing /tmp/said`);
    },
  );

  test('a size of packets is refused with CNI, whose plugins make the links', async () => {
    const network = { mtu: 1400, cni: { configPath: '/nowhere' } };
    await expect(under(network, 'RUN true')).rejects.toThrow('network-mtu (mtu) is of no use with CNI');
  });

  test('network-mode=none: steps have none', async () => {
    expect(await under({ mode: 'none' }, 'RUN [ "$(ls /sys/class/net)" = lo ]')).toEqual([]);
  });

  test('a network by name is a CNI configuration; a name that is not known is refused with those that are', async () => {
    const file = join(builds.dir, 'lab.conf');
    const ipam = {
      type: 'host-local',
      dataDir: join(builds.dir, 'ipam'),
      ranges: [[{ subnet: '10.98.7.0/24' }]],
    };
    writeFileSync(
      file,
      JSON.stringify({ cniVersion: '1.0.0', name: 'lab', type: 'ptp', ipMasq: false, ipam }),
    );
    const network = { named: { lab: file }, cni: { binaryPath: '/usr/lib/cni' } };
    await under(network, 'RUN ip -o addr show dev eth0 | grep -q "inet 10.98.7."', { network: 'lab' });
    await expect(under(network, 'RUN true', { network: 'lob' })).rejects.toMatchObject({
      code: 'not-found',
      message: 'there is no network "lob" for steps',
      hint: 'The networks here: default, none, host, lab.',
    });
  });
});

describe('where none can be made', () => {
  const clone = join(import.meta.dirname, '../..');
  /** Builds by the command, as a root user that may not change networks (as in a container without NET_ADMIN). */
  function command(mode: string, name: string) {
    const dir = builds.context({ Dockerfile: `FROM base\nRUN echo ${name}1\nRUN echo ${name}2\n` });
    const { status, stderr } = spawnSync(
      'setpriv',
      [
        ...['--bounding-set=-net_admin', '--inh-caps=-all', '--', join(clone, 'bin/drydock')],
        ...['--root', join(builds.dir, 'root'), 'build', '--progress=plain', dir],
      ],
      { env: { ...process.env, DRYDOCK_NETWORK_MODE: mode }, encoding: 'utf8' },
    );
    return { status, stderr };
  }

  test('a build goes on with the host’s network, and says so once, and what to do', () => {
    const { status, stderr } = command('auto', 'told');
    expect(status).toBe(0);
    const warnings = stderr.split('\n').filter((line) => line.includes('WARN'));
    expect(warnings).toEqual([
      expect.stringMatching(
        /steps share this host's network, .*bridge: this process may not change networks/,
      ),
      expect.stringContaining('The setting network-mode=bridge has such builds fail'),
    ]);
  });

  test('it fails where the operator insists on one', () => {
    const { status, stderr } = command('bridge', 'insists');
    expect(status).toBe(1);
    expect(stderr).toContain('steps cannot be given a network of their own (bridge: this process may not');
    expect(stderr).toContain('CAP_NET_ADMIN');
  });
});
