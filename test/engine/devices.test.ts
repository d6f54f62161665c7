/** `RUN --device`: what a step gets, when it is cached, and in which ways a build can be granted it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { closePool } from '../../src/workers/pool.ts';
import { ControlKit, failure } from '../api/buildkit/control-kit.ts';
import { ApiBuilds, shellContext } from '../kit/api-builds.ts';
import { Builds } from '../kit/builds.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { onLocal } from '../kit/stores.ts';

let dir: string;
let specDirs: string[];
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-devices-'));
  specDirs = [join(dir, 'cdi')];
  mkdirSync(join(dir, 'cdi'));
  mkdirSync(join(dir, 'lib'));
  writeFileSync(join(dir, 'lib/driver'), 'the driver\n');
  // A program that the runtime runs before the container's root is its root.
  writeFileSync(join(dir, 'hook'), `#!/bin/sh\ncat > ${join(dir, 'hook-state')}\n`, { mode: 0o755 });
  writeFileSync(
    join(dir, 'cdi/vendor.yaml'),
    `cdiVersion: "0.7.0"
kind: vendor.com/gpu
containerEdits:
  env: [DRIVER=/opt/driver]
  mounts:
  - {hostPath: ${dir}/lib, containerPath: /opt/driver, options: [ro, nosuid, nodev, rbind]}
devices:
- name: one
  containerEdits:
    env: [GPU=one]
    deviceNodes:
    - {path: /dev/gpu1, hostPath: /dev/null, permissions: rw}
    additionalGids: [4242]
    hooks:
    - {hookName: createRuntime, path: ${dir}/hook}
- name: two
  annotations: {org.mobyproject.buildkit.device.autoallow: "true"}
  containerEdits: {env: [GPU=two]}
`,
  );
});
afterAll(async () => {
  await closePool();
  rmSync(dir, { recursive: true });
});

onLocal('a step with a device', (store) => {
  const builds = new Builds();
  beforeAll(async () => {
    const root = join(builds.dir, 'root');
    await builds.use(await openEngine({ root, ...store.options(), cdi: { specDirs } }));
  });
  afterAll(() => builds.close());

  test('has its node, variables, mounts, groups and hooks, and nothing of them is in the image', async () => {
    const { read, list } = await builds.build(
      `RUN --device=vendor.com/gpu=one env > /tmp/env && cat /opt/driver/driver > /tmp/driver && id -G > /tmp/groups && \
stat -c '%F %t:%T %a' /dev/gpu1 > /tmp/node && echo x > /dev/gpu1 && \
(touch /opt/driver/x 2>&1 || true) > /tmp/readonly
RUN ls -d /dev/gpu1 /opt/driver 2>/dev/null | wc -l > /tmp/after`,
      {},
      { allow: ['device=vendor.com/gpu=one'] },
    );
    expect(read('/tmp/env')).toMatch(/^DRIVER=\/opt\/driver$/m);
    expect(read('/tmp/env')).toMatch(/^GPU=one$/m);
    expect(read('/tmp/driver')).toBe('the driver\n');
    expect(read('/tmp/groups').split(/\s/)).toContain('4242');
    expect(read('/tmp/node')).toBe('character special file 1:3 666\n');
    expect(read('/tmp/readonly')).toContain('Read-only file system');
    expect(read('/tmp/after')).toBe('0\n');
    expect(list('/').filter((path) => /^\/opt/.test(path))).toEqual([]);
  });

  test('is denied it where the build was not granted it, with the step and the line', async () => {
    await expect(builds.build('RUN --device=vendor.com/gpu=one true')).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('device vendor.com/gpu=one is requested by the build but not allowed'),
      step: expect.stringContaining('RUN --device'),
      source: expect.objectContaining({ filename: 'Dockerfile' }),
      hint: expect.stringContaining('--allow device=vendor.com/gpu=one'),
    });
  });

  test('is not granted by a name that grants nothing', async () => {
    await expect(
      builds.build('RUN true', {}, { allow: ['devices=vendor.com/gpu=one'] }),
    ).rejects.toMatchObject({
      code: 'invalid',
      message: 'unknown entitlement "devices=vendor.com/gpu=one"',
      hint: 'Did you mean device?',
    });
  });

  test('fails where the device must be there and is not; an optional one may be missing', async () => {
    await expect(
      builds.build('RUN --device=vendor.com/gpu=nine,required true', {}, { allow: ['device'] }),
    ).rejects.toThrow('required device "vendor.com/gpu=nine" is not registered');
    const { read } = await builds.build('RUN --device=vendor.com/gpu=nine echo "gpu $GPU" > /tmp/gpu');
    expect(read('/tmp/gpu')).toBe('gpu \n');
  });

  test('is cached for the devices that it got', async () => {
    const gpu = async (wish: string, allow: string[]) => {
      const { read } = await builds.build(`RUN --device=${wish} echo $GPU $RANDOM > /tmp/gpu`, {}, { allow });
      return read('/tmp/gpu');
    };
    const two = await gpu('vendor.com/gpu=two', []);
    expect(two).toMatch(/^two \d+\n$/);
    expect(await gpu('vendor.com/gpu=two', [])).toBe(two);
    const one = await gpu('mine', ['device=vendor.com/gpu=one,alias=mine']);
    expect(one).toMatch(/^one /);
    expect(await gpu('mine', ['device=vendor.com/gpu=two,alias=mine'])).toMatch(/^two /);
    expect(await gpu('mine', ['device=vendor.com/gpu=one,alias=mine'])).toBe(one);
  });

  describe('over the APIs', () => {
    let kit: ControlKit;
    beforeAll(async () => {
      const config = { ...store.options(), cdi: { specDirs } };
      kit = await ControlKit.start(config, { entitlements: ['device'] });
    });
    afterAll(() => kit.daemon.stop());

    const solve = (entitlements: string[], wish: string) => {
      const root = kit.folder({
        Dockerfile: `FROM scratch\nCOPY . /\nRUN --device=${wish} ["/bin/sh", "-c", "echo $GPU"]\n`,
      });
      busyboxRoot(root);
      return kit.solve(
        { Frontend: 'dockerfile.v0', Entitlements: entitlements },
        { dirs: { context: root, dockerfile: root } },
      );
    };

    test('BuildKit’s: workers list the devices, and builds ask for them by entitlements', async () => {
      const { record } = await kit.control.listWorkers({});
      expect(record[0]?.CDIDevices).toMatchObject([
        { Name: 'vendor.com/gpu=one', AutoAllow: false },
        { Name: 'vendor.com/gpu=two', AutoAllow: true, Annotations: expect.any(Object) },
      ]);
      const { status } = await solve(['device=vendor.com/gpu=one'], 'vendor.com/gpu=one');
      expect(
        status.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join(''),
      ).toContain('one\n');
      const denied = await failure(solve([], 'vendor.com/gpu=one'));
      expect(denied.message).toContain('device vendor.com/gpu=one is requested by the build but not allowed');
    });

    test('docker’s: info lists them, and a policy’s rule lets POST /build have them', async () => {
      const info = (await kit.daemon.ask('GET', '/info')).json<Record<string, unknown>>();
      expect(info.CDISpecDirs).toEqual(specDirs);
      expect(info.DiscoveredDevices).toEqual([
        { Source: 'cdi', ID: 'vendor.com/gpu=one' },
        { Source: 'cdi', ID: 'vendor.com/gpu=two' },
      ]);
      const policy = join(dir, `policy-${store.kind}.json`);
      const step = shellContext('RUN --device=vendor.com/gpu=one echo "has $GPU"', {});
      const api = await ApiBuilds.open(store, { cdi: { specDirs } });
      try {
        expect(await api.error(step)).toContain('requested by the build but not allowed');
        expect((await api.ok(shellContext('RUN --device=vendor.com/gpu=two echo "has $GPU"'))).log).toContain(
          'has two',
        );
      } finally {
        await api.stop();
      }
      writeFileSync(
        policy,
        JSON.stringify({ rules: [{ match: { uid: 0 }, scopes: ['*'], allow: ['device'] }] }),
      );
      const granted = await ApiBuilds.open(store, { cdi: { specDirs }, policyFile: policy });
      try {
        expect((await granted.ok(step)).log).toContain('has one');
      } finally {
        await granted.stop();
      }
    });
  });
});

test('the command: --allow device, and the folders in a variable', async () => {
  const cli = new Cli();
  try {
    await cli.makeBase();
    const env = { DRYDOCK_CDI_SPEC_DIR: specDirs.join(',') };
    const context = cli.files('app', {
      Dockerfile: 'FROM base\nRUN --device=mine,required echo "has $GPU"\n',
    });
    const args = ['build', '--progress=plain', '--allow', 'device=vendor.com/gpu=one,alias=mine', context];
    expect((await cli.ok(args, { env })).stderr).toContain('has one');
    const without = await cli.run(args, { env: { ...env, DRYDOCK_CDI_DISABLED: '1' } });
    expect(without.stderr).toContain('Devices (CDI) are switched off here.');
  } finally {
    cli.close();
  }
});
