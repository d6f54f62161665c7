import { mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
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

/** The programs that speak for steps, each with the one that must not be there for it to be chosen. */
const speakers: [speaker: string, without: string | undefined][] = [
  ['pasta', undefined],
  ['slirp4netns', 'pasta'],
];

describe('a step with a link of its own', () => {
  test.each(['nft', 'iptables-nft', 'iptables-legacy'])(
    'reaches other machines and names, and nothing of this host: rules by %s',
    async (tool) => {
      expect(await hosts.onHost('reach.ts', { options: { mode: 'bridge' }, tool, asksHost: false })).toEqual(
        usual,
      );
      await expect.poll(() => hosts.traces()).toEqual([]);
    },
  );

  test.each(['nft', 'iptables-nft', 'iptables-legacy'])(
    'speaks in nobody else’s name, neither to the host nor to other steps: rules by %s',
    async (tool) => {
      expect(await hosts.onHost('forge.ts', { tool })).toEqual([]);
      await expect.poll(() => hosts.traces()).toEqual([]);
    },
  );

  test('serves the next step when the one before has not used it', async () => {
    expect(await hosts.onHost('again.ts', { mode: 'bridge' })).toEqual({
      nothing: 'serves another step',
      'a packet to nobody': 'is gone',
      'a look': 'serves another step',
      'a packet to itself': 'is gone',
      'a process with rights': 'is gone',
    });
    // The kernel may have asked for neighbours in there: then even one that no step has used is thrown away.
    const withPasta = await hosts.onHost('again.ts', { mode: 'pasta' });
    expect(withPasta).toMatchObject({ 'a packet to nobody': 'is gone' });
  });

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
    await expect.poll(() => hosts.traces()).toEqual([]);
  });
});

describe('kill -9 of the process that has steps', () => {
  test('takes the links along; the next one takes the rules away, and forwarding', async () => {
    const options = { mode: 'bridge' };
    await hosts.onHost('hold.ts', { options }, 'held');
    expect(hosts.traces()).toContain('up0 forwards');
    expect(await hosts.onHost('open.ts', { options })).toEqual({ step: 'own', kind: 'bridge' });
    await expect.poll(() => hosts.traces()).toEqual([]);
  });

  test('the next one takes them away, too, when it has other settings', async () => {
    await hosts.onHost('hold.ts', { options: { mode: 'bridge', hostAccess: 'never' } }, 'held');
    expect(await hosts.onHost('open.ts', { options: { mode: 'bridge' } })).toEqual({
      step: 'own',
      kind: 'bridge',
    });
    await expect.poll(() => hosts.traces()).toEqual([]);
  });

  test.each(speakers)('ends the processes that spoke for steps: %s', async (speaker, without) => {
    await hosts.onHost('hold.ts', { options: { mode: 'pasta' } }, 'held', { without });
    await expect.poll(() => processesOf(join(hosts.dir, 'network'), speaker)).toEqual([]);
  });
});

test.each(speakers)('a step that a process speaks for reaches the same: %s', async (speaker, without) => {
  const own = { options: { mode: 'pasta' }, asksHost: false };
  const reach = (given: object) => hosts.onHost('reach.ts', given, undefined, { without });
  const other6 = speaker === 'pasta' ? usual.other6 : 'no';
  expect(await reach(own)).toEqual({ ...usual, other6, neighbour: expect.anything() });
  const asking = (await reach({ ...own, asksHost: true })) as object;
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

  const leases = () => readdirSync(join(hosts.dir, 'ipam', 'steps')).filter((name) => name.startsWith('10.'));
  /** The rules that name a container, and those of the plugin firewall, which name its address. */
  const rules = () => hosts.command('iptables-save').match(/drydock-\S+|^-A CNI-FORWARD -[sd] \S+/gm) ?? [];

  test('what a killed process left, the next one has the plugins take back', async () => {
    const options = { mode: 'cni', cni: plugins };
    await hosts.onHost('hold.ts', { options }, 'held');
    expect(leases().length).toBeGreaterThan(1);
    expect(rules().length).toBeGreaterThan(1);
    expect(await hosts.onHost('open.ts', { options })).toEqual({ step: 'own', kind: 'cni' });
    expect([leases(), rules()]).toEqual([[], []]);
    expect(readdirSync(join(hosts.dir, 'network', 'cni'))).toEqual([]);
  });

  test.each(['address', 'rules'])(
    'what is made while the process is killed is taken back: %s',
    async (when) => {
      // The plugins end their process in the middle of their work, and go on with it.
      const folder = mkdtempSync(join(hosts.dir, 'plugins-'));
      const script = (name: string, real: string, parent: string) =>
        writeFileSync(
          join(folder, name),
          `#!/bin/sh\nanswer=$(/usr/lib/cni/${real}) || exit\n[ "$CNI_COMMAND" = DEL ] || { kill -9 ${parent}; sleep 0.4; }\necho "$answer"\n`,
          { mode: 0o755 },
        );
      for (const name of ['bridge', 'firewall', 'host-local'])
        symlinkSync(`/usr/lib/cni/${name}`, join(folder, name));
      script('killing-local', 'host-local', '$(cut -d" " -f4 /proc/$PPID/stat)');
      script('killing-firewall', 'firewall', '$PPID');
      const config = JSON.parse(readFileSync(plugins.configPath, 'utf8'));
      const [bridge, firewall] = config.plugins;
      if (when === 'address') bridge.ipam.type = 'killing-local';
      else firewall.type = 'killing-firewall';
      const configPath = join(folder, 'steps.conflist');
      writeFileSync(configPath, JSON.stringify(config));
      const options = { mode: 'cni', cni: { binaryPath: folder, configPath } };
      expect(await hosts.onHost('open.ts', { options }, 'killed by its plugin')).toBe('');
      expect(leases().length).toBe(1);
      // Whatever the mode of the next one is.
      expect(await hosts.onHost('open.ts', { options: { mode: 'none' } })).toMatchObject({ kind: 'none' });
      expect([leases(), rules()]).toEqual([[], []]);
      expect(readdirSync(join(hosts.dir, 'network', 'cni'))).toEqual([]);
    },
  );

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

/** The command lines of a program that have a text in them. */
function processesOf(text: string, program: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      } catch {
        return [];
      }
    })
    .filter((line) => line.includes(text) && line.includes(program));
}
