import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { detectCgroups, removeGroup } from '../../src/executor/cgroups.ts';
import { hardLimits, limitsFor, rlimitsFor } from '../../src/executor/limits.ts';
import { kernel, probeExecutor } from '../../src/executor/probe.ts';
import type { ExecSpec } from '../../src/executor/types.ts';
import { folderOption } from '../../src/fs/overlay-options.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Harness } from './harness.ts';

let h: Harness;
beforeAll(() => {
  h = new Harness();
});
afterAll(() => h.close());

describe('a step', () => {
  test('prints, fails with its exit code, and reads its input', async () => {
    expect(await h.run('echo out; echo err >&2; exit 7')).toMatchObject({
      exitCode: 7,
      out: 'out\n',
      err: 'err\n',
    });
    const { spec } = h.spec('cat');
    let out = '';
    await h.executor.run(
      spec,
      {
        stdin: Readable.from(['fed']),
        stdout: (c) => {
          out += c;
        },
        stderr: () => {},
      },
      new AbortController().signal,
    );
    expect(out).toBe('fed');
  });

  test('may open /dev/stdout and /dev/stderr, as root and as a user', async () => {
    const script = 'echo a | tee /dev/stderr; echo b >/dev/stdout';
    expect(await h.run(script)).toMatchObject({ exitCode: 0, out: 'a\nb\n', err: 'a\n' });
    expect(await h.run(script, { user: 'ann' })).toMatchObject({ exitCode: 0, out: 'a\nb\n', err: 'a\n' });
  });

  test('ends with 128+n on signal n, 127 when its program is missing, 126 when it cannot be run', async () => {
    expect((await h.run('(sh -c "kill -9 \\$\\$"); exit $?')).exitCode).toBe(137);
    const missing = await h.run(['/bin/nope']);
    expect(missing.exitCode).toBe(127);
    expect(missing.err).toMatch(/no such file or directory/i);
    expect((await h.run(['nope'])).exitCode).toBe(127);
    expect((await h.run(['/etc/passwd'])).exitCode).toBe(126);
  });

  test('leaves no mount, bundle or cgroup behind', async () => {
    await h.run('true');
    expect(h.mounts()).toEqual([]);
    expect(readdirSync(join(h.dir, 'run/exec'))).toEqual([]);
    const owner = readdirSync(join(h.dir, 'state'))[0]!.replace('.owner', '');
    const groups = detectCgroups().trees.flatMap((tree) => readdirSync(join(tree, 'drydock')));
    expect(groups.filter((name) => name.startsWith(owner))).toEqual([]);
  });

  test('is in the cgroup parent that it asks for, as BuildKit would place it', async () => {
    const host = detectCgroups();
    const parent = `drydock-test-${process.pid}`;
    const { out, err } = await h.run('cat /proc/self/cgroup; ls /sys/fs/cgroup', { cgroupParent: parent });
    try {
      expect(err).toBe('');
      // With one tree (v2) a step's group is the root of what it sees; with v1's trees the whole path is seen.
      if (host.kind === 'v1')
        expect(out).toMatch(new RegExp(`:devices:/${parent}/buildkit/[0-9a-f-]+-step\\d+\n`));
      if (host.kind === 'v2') expect(out).toMatch(/^0::\/\n/);
      // crun has no group in the v2 tree of a hybrid host.
      for (const tree of host.trees.filter((each) => existsSync(join(each, parent))))
        expect(
          readdirSync(join(tree, parent, 'buildkit'), { withFileTypes: true }).filter((e) => e.isDirectory()),
        ).toEqual([]);
    } finally {
      removeGroup(host.trees, `/${parent}`);
    }
  });

  test('writes to its layer, and nothing else gets in there', async () => {
    const { upper } = await h.run('echo x >/made; rm /etc/group');
    expect(readdirSync(upper).sort()).toEqual(['etc', 'made']);
    expect(statSync(join(upper, 'etc/group')).isCharacterDevice()).toBe(true);
  });
});

describe('users', () => {
  test('by name with the groups that list them, by number, with a group', async () => {
    expect((await h.run('id; echo $HOME', { user: 'ann' })).out).toBe(
      'uid=1000(ann) gid=1001(ann) groups=10(wheel),44(video),1001(ann)\n/home/ann\n',
    );
    expect((await h.run('id -u; id -g', { user: '1000' })).out).toBe('1000\n1001\n');
    expect((await h.run('id -u; id -g', { user: '4711' })).out).toBe('4711\n0\n');
    expect((await h.run('id -u; id -g; id -G', { user: 'ann:video' })).out).toBe('1000\n44\n44\n');
  });

  test('unknown ones are refused in docker words', async () => {
    await expect(h.run('id', { user: 'bob' })).rejects.toMatchObject({
      code: 'invalid',
      message: 'unable to find user bob: no matching entries in passwd file',
      hint: expect.stringContaining('ann'),
    });
    await expect(h.run('id', { user: 'ann:none' })).rejects.toThrow(
      'unable to find group none: no matching entries in group file',
    );
  });
});

describe('the sandbox', () => {
  test("has docker's capabilities; an insecure step has all", async () => {
    const caps = async (security: 'sandbox' | 'insecure') =>
      /CapEff:\s*(\w+)/.exec((await h.run('cat /proc/self/status', { security })).out)?.[1];
    expect(await caps('sandbox')).toBe('00000000a80425fb');
    const own = /CapBnd:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    expect(await caps('insecure')).toBe(own);
    // As BuildKit has it, also as another user than root.
    const { out } = await h.run('grep Cap /proc/self/status', { security: 'insecure', user: '1234' });
    expect(/CapEff:\s*(\w+)/.exec(out)?.[1]).toBe(own);
    expect(/CapAmb:\s*(\w+)/.exec(out)?.[1]).toBe(own);
  });

  test('cannot mount or make namespaces; an insecure step can', async () => {
    const script = 'mkdir /m && mount -t tmpfs t /m && echo mounted';
    expect((await h.run(script)).exitCode).not.toBe(0);
    expect((await h.run('unshare -U true')).exitCode).not.toBe(0);
    expect((await h.run(script, { security: 'insecure' })).out).toBe('mounted\n');
  });

  test('has BuildKit’s devices only as an insecure step', async () => {
    const paths = 'kmsg cuse fuse kvm net/tun loop-control loop0 loop7';
    const script = `for d in ${paths}; do stat -c '%n %a %t:%T' /dev/$d; done`;
    expect((await h.run(script, { security: 'insecure' })).out.split('\n')).toEqual([
      '/dev/kmsg 666 1:b',
      '/dev/cuse 666 a:cb',
      '/dev/fuse 666 a:e5',
      '/dev/kvm 666 a:e8',
      '/dev/net/tun 666 a:c8',
      '/dev/loop-control 666 a:ed',
      '/dev/loop0 666 7:0',
      '/dev/loop7 666 7:7',
      '',
    ]);
    expect((await h.run(script)).out).toBe('');
  });

  test('hides and protects parts of /proc and /sys', async () => {
    const { out } = await h.run('cat /proc/kcore | wc -c; echo 1 >/proc/sys/vm/panic_on_oom || echo refused');
    expect(out).toBe('0\nrefused\n');
    expect((await h.run('mkdir /sys/x')).exitCode).not.toBe(0);
  });

  test('has its own pid namespace, hostname, /dev and open-file limit', async () => {
    const { out } = await h.run('echo $$; hostname; ls /dev; ulimit -n; stat -c %a /dev/shm');
    const [pid, name, ...rest] = out.trim().split('\n');
    expect(pid).toBe('1');
    expect(name).toBe('buildkitsandbox');
    expect(rest).toEqual(expect.arrayContaining(['null', 'zero', 'random', 'urandom', 'tty', 'pts', 'shm']));
    expect(rest.slice(-2)).toEqual(['1024', '1777']);
  });

  test('takes ulimits, a hostname and a working folder that is made', async () => {
    const ulimits = [{ name: 'nofile', soft: 100, hard: 200 }];
    const { out } = await h.run('ulimit -n; hostname; pwd', { ulimits, hostname: 'box', cwd: '/a/b' });
    expect(out).toBe('100\nbox\n/a/b\n');
  });
});

describe('networks', () => {
  test('none has a loopback that is up, and nothing else', async () => {
    const { out } = await h.run('ip -o link', { network: 'none' });
    expect(out.trim().split('\n')).toHaveLength(1);
    expect(out).toMatch(/lo: <LOOPBACK,UP/);
  });

  test('host and the default one are the host’s', async () => {
    for (const network of ['host', 'default'] as const) {
      const { out } = await h.run('readlink /proc/self/ns/net', { network });
      expect(out.trim()).toBe(readlinkSync('/proc/self/ns/net'));
    }
  });

  test('/etc/hosts has localhost, the hostname and the extra hosts', async () => {
    const extraHosts = [
      { host: 'db', ip: '10.1.2.3' },
      { host: 'host.docker.internal', ip: 'host-gateway' },
    ];
    const { out } = await h.run('cat /etc/hosts', { extraHosts, hostname: 'box' });
    expect(out).toContain('127.0.0.1\tlocalhost box\n');
    expect(out).toContain('10.1.2.3\tdb\n127.0.0.1\thost.docker.internal\n');
    await expect(h.run('true', { extraHosts: [{ host: 'x', ip: 'nowhere' }] })).rejects.toThrow(
      'invalid extra host "x:nowhere"',
    );
  });
});

describe('mounts', () => {
  test('of snapshots, with a sub-path that may be a symlink inside them', async () => {
    const dirs = ['one', 'two'].map((name) => join(h.dir, name));
    for (const dir of dirs) mkdirSync(join(dir, 'real'), { recursive: true });
    writeFileSync(join(dirs[0]!, 'real/a'), 'a');
    writeFileSync(join(dirs[1]!, 'real/b'), 'b');
    symlinkSync('/real', join(dirs[0]!, 'link'));
    const mounts = [{ type: 'overlay' as const, source: 'overlay', options: [`lowerdir=${dirs.join(':')}`] }];
    const source = { type: 'mounts' as const, mounts, selector: '/link' };
    const { out, upper } = await h.run('ls /mnt/x; touch /mnt/x/y || echo ro', {
      mounts: [{ dest: '/mnt/x', readonly: true, source }],
    });
    expect(out).toBe('a\nb\nro\n');
    expect(readdirSync(upper)).toEqual([]);
    const bad = { ...source, selector: '/none' };
    await expect(
      h.run('true', { mounts: [{ dest: '/m', readonly: true, source: bad }] }),
    ).rejects.toMatchObject({
      code: 'not-found',
    });
  });

  test('of hundreds of layers, which do not go into one mount(2) by their full paths; of too many not', async () => {
    const stack = join(h.dir, 'a stack: deep,', 'of-layers'.repeat(10));
    const dirs = Array.from({ length: 501 }, (_, i) => join(stack, `${i}/fs`));
    for (const [i, dir] of dirs.entries()) {
      mkdirSync(dir, { recursive: true });
      writeFileSync(join(dir, `f${i}`), '');
    }
    const ofLayers = (count: number) => ({
      type: 'mounts' as const,
      mounts: [
        {
          type: 'overlay' as const,
          source: 'overlay',
          options: [folderOption('lowerdir', dirs.slice(0, count))],
        },
      ],
    });
    const see = (count: number) =>
      h.run('ls /mnt | wc -l', { mounts: [{ dest: '/mnt', readonly: true, source: ofLayers(count) }] });
    expect((await see(480)).out.trim()).toBe('480');
    await expect(see(501)).rejects.toMatchObject({
      code: 'unsupported',
      hop: 'exec',
      message: '501 layers are more than one overlay mount can stack',
      hint: expect.stringContaining('RUN'),
    });
    // The step's own root, written to.
    const upper = join(stack, 'upper/fs');
    const work = join(stack, 'upper/work');
    for (const dir of [upper, work]) mkdirSync(dir, { recursive: true });
    busyboxRoot(dirs[399] as string);
    const options = [
      folderOption('workdir', [work]),
      folderOption('upperdir', [upper]),
      folderOption('lowerdir', dirs.slice(0, 400)),
    ];
    const root = { mounts: [{ type: 'overlay' as const, source: 'overlay', options }], readonly: false };
    const { exitCode } = await h.run('rm /f399 && ls /f* | wc -l > /count', { root });
    expect(exitCode).toBe(0);
    expect(readFileSync(join(upper, 'count'), 'utf8').trim()).toBe('399');
    expect(existsSync(join(work, 'work/incompat'))).toBe(false);
  });

  test('leave no stubs in the layer, not even copied-up folders; what the step made stays', async () => {
    const tmpfs = (dest: string) => ({ dest, readonly: false, source: { type: 'tmpfs' as const, size: 0 } });
    const { upper, exitCode } = await h.run('touch /cache/deep/er/x /kept/by', {
      mounts: [tmpfs('/cache/deep/er'), tmpfs('/etc/sub'), tmpfs('/kept/here')],
    });
    expect(exitCode).toBe(0);
    expect(readdirSync(upper)).toEqual(['kept']);
    expect(readdirSync(join(upper, 'kept'))).toEqual(['by']);
  });

  test('a time that the step gave to a folder stays, whatever stubs were in it', async () => {
    const tmpfs = (dest: string) => ({ dest, readonly: false, source: { type: 'tmpfs' as const, size: 0 } });
    const { upper } = await h.run('touch -d @1234567890 /etc /tmp /tmp/deep', {
      mounts: [tmpfs('/tmp/deep/er'), tmpfs('/etc/sub')],
    });
    expect(readdirSync(upper).sort()).toEqual(['etc', 'tmp']);
    for (const name of ['etc', 'tmp']) {
      expect(lstatSync(join(upper, name)).mtimeMs).toBe(1234567890_000);
      expect(readdirSync(join(upper, name))).toEqual([]);
    }
  });

  test('a stub is not looked for through a symlink the step put in its place', async () => {
    const victim = join(h.dir, 'victim');
    mkdirSync(join(victim, 'secrets'), { recursive: true });
    const source = { type: 'file' as const, data: Buffer.from('s'), uid: 0, gid: 0, mode: 0o400 };
    const { upper, exitCode } = await h.run(`mv /run /gone && ln -s ${victim} /run`, {
      mounts: [{ dest: '/run/secrets/x', readonly: true, source }],
    });
    expect(exitCode).toBe(0);
    expect(existsSync(join(victim, 'secrets'))).toBe(true);
    expect(readlinkSync(join(upper, 'run'))).toBe(victim);
  });

  test('secret files and secret environment are in memory only', async () => {
    const source = {
      type: 'file' as const,
      data: Buffer.from('hush-file'),
      uid: 1000,
      gid: 1001,
      mode: 0o440,
    };
    let bundle = '';
    const { spec, upper } = h.spec(
      'cat /run/secrets/s; stat -c " %u %g %a" /run/secrets/s; echo $TOKEN; sleep 0.3',
      {
        secretEnv: ['TOKEN=hush-env'],
        mounts: [{ dest: '/run/secrets/s', readonly: true, source }],
      },
    );
    let out = '';
    const io = {
      stdout: (c: Buffer) => {
        out += c;
        bundle = join(h.dir, 'run/exec', spec.id);
        expect(readTree(bundle)).not.toContain('hush');
      },
      stderr: () => {},
    };
    await (await h.executor.run(spec, io, new AbortController().signal)).cleared;
    expect(out).toBe('hush-file 1000 1001 440\nhush-env\n');
    expect(existsSync(bundle)).toBe(false);
    expect(readdirSync(upper)).toEqual([]);
  });
});

describe('limits and aborts', () => {
  test('memory is limited, and running out of it is told', async () => {
    const resources = { memory: 20 << 20, memorySwap: 20 << 20 };
    const big = 'head -c 100000000 /dev/zero | tail';
    expect(await h.run(big, { resources })).toMatchObject({
      exitCode: expect.toSatisfy((code) => code !== 0),
      shortage: { limit: 20 << 20 },
    });
    // Also when the step does not mind.
    expect(await h.run(`(${big}); true`, { resources })).toMatchObject({
      exitCode: 0,
      shortage: { limit: 20 << 20 },
    });
    expect((await h.run('true', { resources })).shortage).toBeUndefined();
  });

  test('limits with which no container can start are refused by name', async () => {
    const limited = (more: Partial<ExecSpec>) => h.run('true', more);
    await expect(limited({ ulimits: [{ name: 'nofile', soft: 3, hard: 4 }] })).rejects.toMatchObject({
      code: 'invalid',
      message: 'the ulimit nofile=3:4 is too low for a container to start',
    });
    await expect(limited({ resources: { memory: 4096 } })).rejects.toMatchObject({
      code: 'invalid',
      message: 'the memory limit of 4KiB is too low for a container to start',
    });
    const there = readFileSync('/sys/devices/system/cpu/online', 'utf8').trim();
    await expect(limited({ resources: { cpusetCpus: '0,8190' } })).rejects.toMatchObject({
      code: 'invalid',
      message: 'this machine has no CPU 8190',
      hint: `It has ${there}.`,
    });
  });

  test('abort ends everything in the container at once', async () => {
    const abort = new AbortController();
    const running = h.run('trap "" TERM INT; sleep 4242 & sleep 4242', {}, abort.signal);
    await until(() => sleepers() >= 2);
    abort.abort();
    await expect(running).rejects.toMatchObject({ code: 'canceled' });
    expect(sleepers()).toBe(0);
    expect(readdirSync(join(h.dir, 'run/exec'))).toEqual([]);
  });

  test('an aborted signal starts nothing', async () => {
    await expect(h.run('true', {}, AbortSignal.abort())).rejects.toMatchObject({ code: 'canceled' });
  });
});

test('limits that this machine cannot set are lowered or left out, and named', () => {
  const most = hardLimits(
    'Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 20000                files\n',
  );
  const { rlimits, lowered } = rlimitsFor([{ name: 'nofile', soft: 30_000, hard: 65_536 }], most);
  expect(rlimits).toEqual([{ type: 'RLIMIT_NOFILE', soft: 20_000, hard: 20_000 }]);
  expect(lowered).toEqual(['nofile']);
  expect(rlimitsFor([{ name: 'core', soft: -1, hard: -1 }], new Map()).lowered).toEqual([]);
  const { resources, missing } = limitsFor({ memory: 1 << 20, cpuShares: 5 }, new Set(['memory']));
  expect(resources).toEqual({ memory: { limit: 1 << 20 } });
  expect(missing).toEqual(['cpu']);
});

test('an executor that is closed leaves nothing that tells of it', async () => {
  const listeners = process.listenerCount('exit');
  const own = new Harness();
  try {
    await own.run('true');
    expect(process.listenerCount('exit')).toBe(listeners + 1);
    own.executor.close();
    expect(process.listenerCount('exit')).toBe(listeners);
    // What was found out about this machine stays.
    expect(readdirSync(join(own.dir, 'state')).filter((name) => name !== 'runtime.json')).toEqual([]);
  } finally {
    own.close();
  }
});

test('doctor’s checks find what this machine has', async () => {
  const checks = await probeExecutor();
  expect(checks.find((c) => c.name === 'runc')).toMatchObject({
    ok: true,
    found: expect.stringContaining('runc'),
  });
  expect(checks.find((c) => c.name === 'kernel')?.ok).toBe(true);
  expect(kernel('5.10.0-33-amd64')).toMatchObject({ ok: false, remedy: expect.stringContaining('5.12') });
  const [missing] = await probeExecutor({ runtime: 'no-such-runc' });
  expect(missing).toMatchObject({
    ok: false,
    found: 'not installed',
    remedy: expect.stringContaining('apt-get'),
  });
});

function sleepers(): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1') === 'sleep\u00004242\u0000';
    } catch {
      return false;
    }
  }).length;
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (holds()) return;
    await sleep(25);
  }
  throw new Error('it did not happen within 5 s');
}

function readTree(dir: string): string {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => textOf(join(entry.parentPath, entry.name)))
    .join('\n');
}

/** A file's text; '' for one that the runtime has taken away meanwhile. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
