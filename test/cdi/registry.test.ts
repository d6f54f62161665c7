/** The files that describe devices: what is read of them, which device a wish stands for, and who may have it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { grantDevices } from '../../src/cdi/grant.ts';
import { readSpec } from '../../src/cdi/read-spec.ts';
import { DeviceRegistry } from '../../src/cdi/registry.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-cdi-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Writes a file with one device for each name. */
function spec(file: string, kind: string, names: string[], more = ''): void {
  mkdirSync(join(dir, file, '..'), { recursive: true });
  const devices = names.map((name) => `- {name: "${name}", containerEdits: {env: ["${name}=1"]}}`);
  writeFileSync(
    join(dir, file),
    `cdiVersion: 0.6.0\nkind: ${kind}\n${more}devices:\n${devices.join('\n')}\n`,
  );
}

describe('a file', () => {
  test('in YAML or JSON says what a container gets', () => {
    const read = readSpec(`---
cdiVersion: "0.7.0"
kind: vendor.com/gpu
annotations: {a.b/c: "1"}
containerEdits:
  env: [ALL=1]
devices:
- name: "0"
  annotations: {d: e}
  containerEdits:
    deviceNodes:
    - {path: /dev/g0, hostPath: /dev/null, type: c, major: 1, minor: 3, fileMode: 0o640, permissions: rw, uid: 5, gid: 6}
    mounts:
    - {hostPath: /usr/lib/x.so, containerPath: /usr/lib/x.so, options: [ro, nosuid]}
    hooks:
    - {hookName: createContainer, path: /bin/h, args: [h, a], env: [B=1], timeout: 3}
    additionalGids: [0, 44]
    intelRdt: {closID: x}
`);
    expect(read).toMatchObject({
      kind: 'vendor.com/gpu',
      annotations: { 'a.b/c': '1' },
      edits: { env: ['ALL=1'], deviceNodes: [], netDevices: [] },
    });
    expect(read.devices).toMatchObject([
      {
        name: '0',
        edits: {
          deviceNodes: [
            { path: '/dev/g0', hostPath: '/dev/null', major: 1, minor: 3, fileMode: 0o640, uid: 5, gid: 6 },
          ],
          mounts: [{ hostPath: '/usr/lib/x.so', options: ['ro', 'nosuid'] }],
          hooks: [
            { hookName: 'createContainer', path: '/bin/h', args: ['h', 'a'], env: ['B=1'], timeout: 3 },
          ],
          additionalGids: [44],
          intelRdt: { closID: 'x' },
        },
      },
    ]);
    const json = { cdiVersion: '1.1.0', kind: 'v/c', devices: [{ name: 'a', containerEdits: {} }] };
    expect(readSpec(JSON.stringify(json)).devices[0]?.name).toBe('a');
  });

  test.each([
    ['a: [', 'it is no YAML'],
    ['- a', 'it is no object'],
    ['kind: v/c', 'cdiVersion: it is missing'],
    ['{cdiVersion: 9.0.0, kind: v/c}', 'cdiVersion: the version 9.0.0 is not known'],
    ['{cdiVersion: 0.6.0, kind: vc}', 'kind: "vc" is not of the form vendor/class'],
    ['{cdiVersion: 0.6.0, kind: v/c}', 'devices: there are none'],
    ['{cdiVersion: 0.6.0, kind: v/c, device: []}', 'device: there is no such member'],
    ['{cdiVersion: 0.6.0, kind: v/c, devices: [{name: a}, {name: a}]}', 'devices: a is there twice'],
    ['{cdiVersion: 0.6.0, kind: v/c, devices: [{name: "-"}]}', 'devices[0].name: "-" cannot be a name'],
    [
      '{cdiVersion: 0.6.0, kind: v/c, devices: [{name: a, containerEdits: {env: [x]}}]}',
      'devices[0].containerEdits.env: "x" is no NAME=VALUE',
    ],
    [
      '{cdiVersion: 0.6.0, kind: v/c, devices: [{name: a, containerEdits: {deviceNodes: [{path: dev}]}}]}',
      'devices[0].containerEdits.deviceNodes[0].path: "dev" is no absolute path',
    ],
    [
      '{cdiVersion: 0.6.0, kind: v/c, devices: [{name: a, containerEdits: {hooks: [{hookName: x, path: /h}]}}]}',
      'there is no hook "x"',
    ],
  ])('refused with the place: %s', (text, message) => {
    expect(() => readSpec(text)).toThrow(
      expect.objectContaining({ code: 'invalid', message: expect.stringContaining(message) }),
    );
  });
});

describe('the folders', () => {
  const registry = (...dirs: string[]) =>
    new DeviceRegistry({ specDirs: dirs.map((each) => join(dir, each)) });
  const names = async (from: DeviceRegistry) => (await from.list()).map(({ name }) => name);

  test('are read anew when a file comes, changes or goes', async () => {
    const devices = registry('a', 'none');
    expect(await names(devices)).toEqual([]);
    spec('a/x.yaml', 'v.com/c', ['2', '1']);
    writeFileSync(join(dir, 'a/readme.txt'), 'no spec');
    expect(await names(devices)).toEqual(['v.com/c=1', 'v.com/c=2']);
    spec('a/x.yaml', 'v.com/c', ['3']);
    spec('a/y.json', 'v.com/d', ['1']);
    expect(await names(devices)).toEqual(['v.com/c=3', 'v.com/d=1']);
    rmSync(join(dir, 'a'), { recursive: true });
    expect(await names(devices)).toEqual([]);
    expect(await names(new DeviceRegistry({ disabled: true }))).toEqual([]);
  });

  test('a later folder wins; two files of one folder that describe the same device make none', async () => {
    spec('a/x.yaml', 'v.com/c', ['1', '2']);
    spec('b/x.yaml', 'v.com/c', ['1'], 'containerEdits: {env: ["FROM=b"]}\n');
    const devices = registry('a', 'b');
    expect((await devices.edits(['v.com/c=1', 'v.com/c=2'])).env).toEqual(['FROM=b', '1=1', '2=1']);
    spec('a/z.yaml', 'v.com/c', ['2']);
    expect(await names(devices)).toEqual(['v.com/c=1']);
    expect(await devices.problems()).toEqual([
      expect.stringMatching(/z\.yaml: the device v\.com\/c=2 is in .*x\.yaml as well/),
    ]);
  });

  test('a file that is of no use is told where a device is missed', async () => {
    mkdirSync(join(dir, 'a'));
    writeFileSync(join(dir, 'a/bad.yaml'), 'kind: v/c\n');
    await expect(registry('a').find({ name: 'v.com/c=1', optional: false })).rejects.toMatchObject({
      message: 'required device "v.com/c=1" is not registered',
      hint: expect.stringMatching(/bad\.yaml: cdiVersion: it is missing/),
    });
    expect(await registry('a').find({ name: 'v.com/c=1', optional: true })).toEqual([]);
  });

  test('what is common to a file’s devices comes once, before them', async () => {
    spec('a/x.yaml', 'v.com/c', ['1', '2'], 'containerEdits: {env: ["ALL=1"]}\n');
    expect((await registry('a').edits(['v.com/c=2', 'v.com/c=1'])).env).toEqual(['ALL=1', '2=1', '1=1']);
    await expect(registry('a').edits(['v.com/c=9'])).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('a wish', () => {
  const granted = (name: string, allow: string[] = ['device'], options: object = {}) =>
    grantDevices(
      [{ name, optional: false }],
      allow,
      new DeviceRegistry({ specDirs: [join(dir, 'a')], ...options }),
    );
  beforeEach(() => {
    spec('a/c.yaml', 'v.com/c', ['1', '2']);
    spec('a/d.yaml', 'v.com/d', ['1'], 'annotations: {org.mobyproject.buildkit.device.class: fast}\n');
    spec('a/e.yaml', 'v.com/e', ['1'], 'annotations: {org.mobyproject.buildkit.device.autoallow: "true"}\n');
  });

  test('stands for one device, the first of a kind, all of a kind, or those of a class', async () => {
    expect(await granted('v.com/c=2')).toEqual(['v.com/c=2']);
    expect(await granted('v.com/c')).toEqual(['v.com/c=1']);
    expect(await granted('v.com/c=*')).toEqual(['v.com/c=1', 'v.com/c=2']);
    expect(await granted('fast')).toEqual(['v.com/d=1']);
    await expect(granted('v.com/c=3')).rejects.toThrow('required device "v.com/c=3" is not registered');
    await expect(granted('slow')).rejects.toMatchObject({
      hint: 'There are: v.com/c=1, v.com/c=2, v.com/d=1, v.com/e=1.',
    });
  });

  test('needs the entitlement: for all devices, for a kind, a class or one by its name', async () => {
    await expect(granted('v.com/c=1', [])).rejects.toMatchObject({
      code: 'denied',
      message: 'device v.com/c=1 is requested by the build but not allowed',
      hint: expect.stringContaining('--allow device=v.com/c=1'),
    });
    await expect(granted('v.com/c=*', ['device=v.com/c=1', 'network.host'])).rejects.toThrow(
      'device v.com/c=2 is',
    );
    expect(await granted('v.com/c=*', ['device=v.com/c=1', 'device=v.com/c=2'])).toHaveLength(2);
    expect(await granted('v.com/c=*', ['device=v.com/c=*'])).toHaveLength(2);
    expect(await granted('v.com/d=1', ['device=fast'])).toEqual(['v.com/d=1']);
    // What is allowed and not there harms nobody.
    expect(await granted('v.com/e=1', ['device=v.com/none=1'])).toEqual(['v.com/e=1']);
  });

  test('or the device is for all: by its annotation, or by the operator', async () => {
    expect(await granted('v.com/e=1', [])).toEqual(['v.com/e=1']);
    expect(await granted('v.com/c=1', [], { autoAllowed: ['v.com/c=1'] })).toEqual(['v.com/c=1']);
    expect(await granted('v.com/c=2', [], { autoAllowed: ['v.com/c'] })).toEqual(['v.com/c=2']);
  });

  test('may be for a name that the build’s caller gives to a device', async () => {
    expect(await granted('gpu', ['device=v.com/c=2,alias=gpu'])).toEqual(['v.com/c=2']);
    // The alias grants that name alone.
    await expect(granted('v.com/c=2', ['device=v.com/c=2,alias=gpu'])).rejects.toThrow('not allowed');
    await expect(granted('gpu', ['device=v.com/c=2,as=gpu'])).rejects.toThrow(
      'unknown device config "as=gpu"',
    );
  });
});
