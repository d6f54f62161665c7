/** What confines steps besides namespaces: seccomp profiles from files, AppArmor profiles, SELinux labels. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { confinementFor } from '../../src/executor/confinement.ts';
import { createExecutor } from '../../src/executor/executor.ts';
import { ociSpec } from '../../src/executor/oci-spec.ts';
import { readSeccompProfile } from '../../src/executor/seccomp-file.ts';
import { containerLabels, contextOption } from '../../src/executor/selinux.ts';
import type { Executor } from '../../src/executor/types.ts';
import { Harness } from './harness.ts';

let h: Harness;
beforeAll(() => {
  h = new Harness();
});
afterAll(() => h.close());

test('the own list has all sockets for steps of linux/386 alone, and for none where it is strict', () => {
  const hasSockets = (seccompProfile: string | undefined, machine?: string) =>
    !JSON.stringify(
      confinementFor({ seccompProfile })({ security: 'sandbox', capabilities: [], machine }).seccomp,
    ).includes('"socket"');
  expect([hasSockets(undefined), hasSockets(undefined, 'amd64'), hasSockets(undefined, '386')]).toEqual([
    false,
    false,
    true,
  ]);
  expect(hasSockets('strict', '386')).toBe(false);
});

describe('a seccomp profile in a file', () => {
  let executor: Executor | undefined;
  afterEach(() => executor?.close());

  const run = async (profile: string, script: string, security: 'sandbox' | 'insecure' = 'sandbox') => {
    executor = createExecutor({
      runDir: join(h.dir, 'run'),
      stateDir: join(h.dir, 'state'),
      seccompProfile: profile,
    });
    const { spec } = h.spec(script, { security });
    let out = '';
    const take = (chunk: Buffer) => {
      out += chunk;
    };
    const { exitCode } = await executor.run(
      spec,
      { stdout: take, stderr: take },
      new AbortController().signal,
    );
    return { exitCode, out };
  };
  const file = (profile: object | string) => {
    const path = join(h.dir, 'profile.json');
    writeFileSync(path, typeof profile === 'string' ? profile : JSON.stringify(profile));
    return path;
  };

  test('takes the place of the built-in list, for sandboxed steps alone', async () => {
    const noMkdir = file({
      defaultAction: 'SCMP_ACT_ALLOW',
      archMap: [
        { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] },
        { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: [] },
      ],
      syscalls: [
        { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95, comment: 'as an example' },
        { names: ['chmod', 'fchmodat'], action: 'SCMP_ACT_ERRNO', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['rmdir', 'unlinkat'], action: 'SCMP_ACT_ERRNO', excludes: { minKernel: '3.0' } },
      ],
    });
    const script = 'mkdir /x || true; touch /f && chmod 600 /f && rm /f && echo rest is fine';
    const { out } = await run(noMkdir, script);
    expect(out).toContain('rest is fine');
    expect(out).toMatch(/mkdir: .*not supported/i);
    expect((await run(noMkdir, 'mkdir /x && echo made', 'insecure')).out).toBe('made\n');
    const status = 'grep Seccomp: /proc/self/status';
    expect((await run('unconfined', status)).out).toBe('Seccomp:\t0\n');
    expect((await run('builtin', status)).out).toBe('Seccomp:\t2\n');
  });

  test.each([
    ['{', /it is no JSON/],
    ['[]', /it is no object/],
    [{ defaultAction: 'SCMP_ACT_MAYBE', syscalls: [] }, /defaultAction: there is no action "SCMP_ACT_MAYBE"/],
    [
      { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ action: 'SCMP_ACT_ERRNO' }] },
      /syscalls\[0\] names no calls/,
    ],
    [
      { defaultAction: 'SCMP_ACT_ALLOW', architectures: [], archMap: [], syscalls: [] },
      /both 'architectures' and 'archMap'/,
    ],
    [
      {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['a'], action: 'SCMP_ACT_LOG', includes: { minKernel: 'new' } }],
      },
      /syscalls\[0\]\.includes\.minKernel: "new" is no version/,
    ],
  ])('is refused by the place that is wrong: %j', (profile, says) => {
    expect(() => confinementFor({ seccompProfile: file(profile) })).toThrow(says);
  });

  test('that is not there is an error, and one that filters nothing is no filter', () => {
    expect(() => confinementFor({ seccompProfile: '/no/such/file' })).toThrow(
      expect.objectContaining({ code: 'not-found', message: expect.stringContaining('/no/such/file') }),
    );
    const place = { arch: 'x64', kernel: '6.1.0', capabilities: [] };
    expect(readSeccompProfile('{}', 'f')(place)).toBeUndefined();
  });

  test('has rules for machine types, kernels and capabilities, as docker’s profiles do', () => {
    const rule = (name: string, more: object) => ({ names: [name], action: 'SCMP_ACT_ALLOW', ...more });
    const read = readSeccompProfile(
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ERRNO',
        defaultErrnoRet: 1,
        syscalls: [
          rule('always', {}),
          rule('arm', { includes: { arches: ['arm64', 'arm'] } }),
          rule('new', { includes: { minKernel: '5.10' } }),
          rule('admin', { includes: { caps: ['CAP_SYS_ADMIN'] } }),
          rule('plain', { excludes: { caps: ['CAP_SYS_ADMIN'] } }),
          { name: 'old-style', action: 'SCMP_ACT_ALLOW' },
        ],
      }),
      'f',
    );
    const names = (place: Parameters<typeof read>[0]) =>
      (read(place) as { syscalls: { names: string[] }[] }).syscalls.flatMap((each) => each.names);
    expect(names({ arch: 'x64', kernel: '5.9.1', capabilities: [] })).toEqual([
      'always',
      'plain',
      'old-style',
    ]);
    expect(names({ arch: 'arm64', kernel: '5.10.0-x', capabilities: ['CAP_SYS_ADMIN'] })).toEqual([
      ...['always', 'arm', 'new', 'admin', 'old-style'],
    ]);
  });
});

describe('AppArmor and SELinux', () => {
  test('a machine without them refuses them by name', () => {
    if (!existsSync('/sys/kernel/security/apparmor')) {
      expect(() => confinementFor({ apparmorProfile: 'docker-default' })).toThrow(
        "AppArmor is not supported on this host, but the profile 'docker-default' was specified",
      );
    }
    if (!existsSync('/sys/fs/selinux/enforce')) {
      expect(() => confinementFor({ selinux: true })).toThrow('selinux is not available');
    }
  });

  test('are in the runtime’s configuration, but an insecure step has no profile', () => {
    const confinement = {
      seccomp: {},
      apparmorProfile: 'drydock-steps',
      labels: { process: 'u:r:container_t:s0:c1,c2', mount: 'u:r:container_file_t:s0:c1,c2' },
    };
    const { spec } = h.spec('true');
    const made = ociSpec({
      ...{ spec, rootPath: '/r', user: { uid: 0, gid: 0, groups: [] }, capabilities: [], confinement },
      ...{ cgroup: undefined, cgroupNamespace: false, resources: {}, rlimits: [], oomScore: 0 },
      ...{
        devices: [],
        deviceRules: [],
        terminal: false,
        sysfs: undefined,
        emptyNetwork: false,
        hostPids: false,
      },
    });
    expect(made).toMatchObject({
      process: { apparmorProfile: 'drydock-steps', selinuxLabel: confinement.labels.process },
      linux: { mountLabel: confinement.labels.mount, seccomp: {} },
    });
    const insecure = confinementFor({})({ security: 'insecure', capabilities: [] });
    expect(insecure).toEqual({ seccomp: undefined, apparmorProfile: undefined, labels: undefined });
  });

  test('labels are the policy’s, with two categories of the step’s own', () => {
    const contexts = `process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "system_u:object_r:container_file_t:s0"
`;
    const one = containerLabels('sandbox', contexts);
    const level = /^system_u:system_r:container_t:(s0:c\d+,c\d+)$/.exec(one.process)?.[1];
    expect(one.mount).toBe(`system_u:object_r:container_file_t:${level}`);
    const others = Array.from({ length: 50 }, () => containerLabels('sandbox', contexts).process);
    expect(new Set(others).size).toBeGreaterThan(45);
    for (const each of others) {
      const [, low, high] = (/c(\d+),c(\d+)$/.exec(each) ?? []).map(Number);
      expect(low).toBeLessThan(high as number);
      expect(high).toBeLessThan(1022);
    }
    // As in BuildKit, an insecure step is not confined.
    expect(containerLabels('insecure', contexts)).toEqual({
      process: '',
      mount: 'system_u:object_r:container_file_t:s0:c1022,c1023',
    });
    expect(contextOption(one.mount)).toBe(`context="${one.mount}"`);
    expect(() => containerLabels('sandbox', 'process = "x"')).toThrow('no labels for containers');
    rmSync(join(h.dir, 'profile.json'), { force: true });
  });
});
