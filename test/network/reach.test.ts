import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addresses, TwoHosts } from './two-hosts.ts';

let hosts: TwoHosts;

beforeAll(() => {
  hosts = new TwoHosts();
});
afterAll(() => {
  hosts.close();
});

const { host, host6 } = addresses;

/** What every step reaches, and what none does. */
const usual = {
  other: `other, asked by ::ffff:${host}`,
  other6: `other, asked by ${host6}`,
  name: expect.stringContaining('198.51.100.2'),
  ownLoopback: 'no',
  hostAddress: 'no',
  hostAddress6: 'no',
  gateway: 'no',
  metadata: 'no',
  metadata6: 'no',
  metadataBound: 'no',
  metadata6Bound: 'no',
  linkLocal: 'no',
  abstractSocket: 'no',
  neighbour: 'no',
};

describe('a step with a link of its own', () => {
  test.each(['nft', 'iptables-nft', 'iptables-legacy'])(
    'reaches other machines and names, and nothing of this host: rules by %s',
    async (tool) => {
      expect(await hosts.onHost('reach.ts', { options: { mode: 'bridge' }, tool, asksHost: false })).toEqual(
        usual,
      );
      await expect.poll(() => hosts.traces(), { timeout: 5000 }).toEqual([]);
    },
  );

  test.each(['nft', 'iptables-nft', 'iptables-legacy'])(
    'speaks in nobody else’s name, neither to the host nor to other steps: rules by %s',
    async (tool) => {
      expect(await hosts.onHost('forge.ts', { tool })).toEqual([]);
      await expect.poll(() => hosts.traces(), { timeout: 5000 }).toEqual([]);
    },
  );

  test('that was given host-gateway asks the host there, and nowhere else', async () => {
    const given = { options: { mode: 'bridge' }, asksHost: true };
    expect(await hosts.onHost('reach.ts', given)).toEqual({ ...usual, gateway: 'host' });
    const never = { options: { mode: 'bridge', hostAccess: 'never' }, asksHost: true };
    expect(await hosts.onHost('reach.ts', never)).toEqual(usual);
  });

  test('reaches what an operator opens', async () => {
    const open = { mode: 'bridge', hostAccess: 'always', denied: [] };
    expect(await hosts.onHost('reach.ts', { options: open, asksHost: false })).toEqual({
      ...usual,
      hostAddress: 'host',
      hostAddress6: 'host',
      gateway: 'host',
      metadata: expect.stringContaining('other'),
      metadata6: expect.stringContaining('other'),
      metadataBound: expect.stringContaining('other'),
      metadata6Bound: expect.stringContaining('other'),
    });
    await expect.poll(() => hosts.traces(), { timeout: 5000 }).toEqual([]);
  });
});

describe('kill -9 of the process that has steps', () => {
  test('takes the links along; the next one takes the rules away, and forwarding', async () => {
    const options = { mode: 'bridge' };
    await hosts.onHost('hold.ts', { options }, 'held');
    expect(hosts.traces()).toContain('up0 forwards');
    expect(await hosts.onHost('open.ts', { options })).toEqual({ step: 'own', kind: 'bridge' });
    await expect.poll(() => hosts.traces(), { timeout: 5000 }).toEqual([]);
  });

  test('the next one takes them away, too, when it has other settings', async () => {
    await hosts.onHost('hold.ts', { options: { mode: 'bridge', hostAccess: 'never' } }, 'held');
    expect(await hosts.onHost('open.ts', { options: { mode: 'bridge' } })).toEqual({
      step: 'own',
      kind: 'bridge',
    });
    await expect.poll(() => hosts.traces(), { timeout: 5000 }).toEqual([]);
  });

  test('ends the processes that spoke for steps', async () => {
    await hosts.onHost('hold.ts', { options: { mode: 'pasta' } }, 'held');
    await expect.poll(() => processesOf(join(hosts.dir, 'network')), { timeout: 5000 }).toEqual([]);
  });
});

test('a step that a process speaks for (pasta) reaches the same', async () => {
  const pasta = { options: { mode: 'pasta' }, asksHost: false };
  expect(await hosts.onHost('reach.ts', pasta)).toEqual({ ...usual, neighbour: expect.anything() });
  const asking = (await hosts.onHost('reach.ts', { ...pasta, asksHost: true })) as object;
  expect(asking).toMatchObject({ gateway: 'host', ownLoopback: 'no', metadata: 'no', abstractSocket: 'no' });
});

describe('CNI', () => {
  const plugins = { binaryPath: '/usr/lib/cni', configPath: '' };
  beforeAll(() => {
    plugins.configPath = join(hosts.dir, 'steps.conflist');
    const ipam = {
      type: 'host-local',
      dataDir: join(hosts.dir, 'ipam'),
      ranges: [[{ subnet: '10.99.0.0/24' }]],
    };
    const bridge = { type: 'bridge', bridge: 'steps0', isDefaultGateway: true, ipMasq: true, ipam };
    writeFileSync(
      plugins.configPath,
      JSON.stringify({ cniVersion: '1.0.0', name: 'steps', plugins: [bridge, { type: 'firewall' }] }),
    );
  });

  test('a step that plugins connect reaches other machines and names, and no loopback of the host', async () => {
    expect(
      await hosts.onHost('reach.ts', { options: { mode: 'cni', cni: plugins }, asksHost: false }),
    ).toMatchObject({
      other: usual.other,
      name: usual.name,
      ownLoopback: 'no',
      metadata: 'no',
      metadataBound: 'no',
      metadata6Bound: 'no',
      linkLocal: 'no',
      abstractSocket: 'no',
    });
  });

  test('what a killed process left, the next one has the plugins take back', async () => {
    const options = { mode: 'cni', cni: plugins };
    await hosts.onHost('hold.ts', { options }, 'held');
    const leases = () =>
      readdirSync(join(hosts.dir, 'ipam', 'steps')).filter((name) => name.startsWith('10.'));
    const rules = () => hosts.command('iptables-save', '-t', 'nat').match(/drydock-\S+/g) ?? [];
    expect(leases().length).toBeGreaterThan(1);
    expect(rules().length).toBeGreaterThan(1);
    expect(await hosts.onHost('open.ts', { options })).toEqual({ step: 'own', kind: 'cni' });
    expect([leases(), rules()]).toEqual([[], []]);
    expect(readdirSync(join(hosts.dir, 'network', 'cni'))).toEqual([]);
  });

  test('a configuration that does not work is told with the plugin’s words', async () => {
    const broken = join(hosts.dir, 'broken.conf');
    writeFileSync(
      broken,
      JSON.stringify({ cniVersion: '1.0.0', name: 'b', type: 'bridge', ipam: { type: 'none-such' } }),
    );
    const open = (cni: object) => hosts.onHost('open.ts', { options: { mode: 'cni', cni } });
    expect(await open({ ...plugins, configPath: broken })).toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/cni: the CNI plugin bridge failed: .*none-such/),
    });
    expect(await open({ configPath: join(hosts.dir, 'missing') })).toMatchObject({
      message: expect.stringContaining('missing does not exist'),
    });
    expect(await open({ ...plugins, binaryPath: '/nowhere' })).toMatchObject({
      message: expect.stringContaining('/nowhere/bridge is not there'),
      hint: expect.stringContaining('containernetworking-plugins'),
    });
  });
});

/** The command lines that have a text in them. */
function processesOf(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      } catch {
        return [];
      }
    })
    .filter((line) => line.includes(text) && line.includes('pasta'));
}
