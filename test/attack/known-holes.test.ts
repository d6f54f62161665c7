/**
 * Holes of container runtimes and of BuildKit that were made public since 2019, each tried against our steps, frontends
 * and sources. docs/isolation.md has the list, with the tests of those that are elsewhere.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { chooseContext } from '../../src/cli/build/context.ts';
import type { ExecControl, ExecSpec } from '../../src/executor/types.ts';
import { local, marshal, mkdir, mkfile, rm, scratch, symlink } from '../../src/llb/llb.ts';
import { buildState } from '../../src/sdk/build.ts';
import { closePool } from '../../src/workers/pool.ts';
import { GatewayKit } from '../api/buildkit/gateway-kit.ts';
import { Harness } from '../executor/harness.ts';
import { Builds } from '../kit/builds.ts';
import { answerGit } from '../kit/git-server.ts';
import { startServer } from '../kit/http-server.ts';

let h: Harness;
/** A folder of the host that no step was given, with an empty file and one that has text. */
let victim: string;
const secret = 'only on the host';

beforeAll(() => {
  h = new Harness();
});
afterAll(async () => {
  h.close();
  await closePool();
});
beforeEach(() => {
  victim = mkdtempSync(join(h.dir, 'victim-'));
  writeFileSync(join(victim, 'empty'), '');
  writeFileSync(join(victim, 'text'), secret);
});

/** A step on a root with a layer of one's own on top, as an image may have it. */
async function runOn(
  plant: (layer: string) => void,
  script: string,
  more: Partial<ExecSpec> = {},
  terminal = false,
) {
  const layer = mkdtempSync(join(h.dir, 'planted-'));
  plant(layer);
  const { spec } = h.spec(script, more);
  const options = (spec.root.mounts[0]?.options ?? []).map((option) =>
    option.startsWith('lowerdir=') ? `lowerdir=${layer}:${h.lower}` : option,
  );
  const root: ExecSpec['root'] = {
    readonly: false,
    mounts: [{ type: 'overlay', source: 'overlay', options }],
  };
  let out = '';
  const take = (chunk: Buffer) => {
    out += chunk;
  };
  const io = { stdout: take, stderr: take, terminal };
  const { exitCode } = await h.executor.run({ ...spec, root }, io, new AbortController().signal);
  return { exitCode, out };
}

const up = '../'.repeat(30);

describe('CVE-2024-21626: a working folder that is an open folder of the host', () => {
  const numbers = [...Array(24).keys()].slice(3);
  const look = () => `cat ${up}${victim}/text; cat /proc/self/cwd/${up}${victim}/text; ls ${up}`;

  test('a process has no files open but its own input and output', async () => {
    // The fourth is the folder that ls reads.
    expect((await h.run('ls /proc/self/fd')).out.trim().split('\n')).toHaveLength(4);
  });

  test('a working folder in /proc/self/fd leads nowhere, for the first process and for one that joins', async () => {
    const seen: string[] = [];
    const tries = async (run: (cwd: string) => Promise<{ out: string }>) => {
      for (const n of numbers.slice(0, 9)) {
        seen.push(await run(`/proc/self/fd/${n}`).then(({ out }) => out, String));
      }
    };
    await tries((cwd) => h.run(look(), { cwd }));
    const { spec } = h.spec('sleep 60');
    const over = new AbortController();
    const started = Promise.withResolvers<ExecControl>();
    const io = { stdout: () => {}, stderr: () => {}, started: started.resolve };
    const running = h.executor.run(spec, io, over.signal).catch(() => {});
    const control = await started.promise;
    await tries(async (cwd) => {
      let out = '';
      const take = (chunk: Buffer) => {
        out += chunk;
      };
      const joined = { ...spec, args: ['/bin/sh', '-c', look()], cwd };
      await control.exec(joined, { stdout: take, stderr: take }, over.signal);
      return { out };
    });
    over.abort();
    await running;
    expect(seen).toHaveLength(18);
    expect(seen.join('')).not.toContain(secret);
  });

  test('nor does one that is a symlink there in the image', async () => {
    for (const n of numbers.slice(0, 9)) {
      const planted = (layer: string) => symlinkSync(`/proc/self/fd/${n}`, join(layer, 'cwd'));
      const { out } = await runOn(planted, look(), { cwd: '/cwd' }).catch((err: Error) => ({
        out: err.message,
      }));
      expect(out).not.toContain(secret);
    }
  });
});

test('CVE-2019-5736: the runtime’s own program is not written over', async () => {
  const runtimes = ['runc', 'crun'].flatMap((name) => {
    try {
      return [execFileSync('which', [name], { encoding: 'utf8' }).trim()];
    } catch {
      return [];
    }
  });
  const digests = () => runtimes.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
  const before = digests();
  const write = 'for p in /proc/[0-9]*/exe; do (echo x > $p) 2>/dev/null && echo wrote $p; done; true';
  expect((await h.run(`i=0; while [ $i -lt 20 ]; do ${write}; i=$((i+1)); done`)).out).toBe('');
  for (const program of [['/proc/self/exe', 'init'], ['/self']]) {
    const planted = (layer: string) => {
      writeFileSync(join(layer, 'self'), '#!/proc/self/exe\n', { mode: 0o755 });
    };
    await runOn(planted, '', { args: program }).catch(() => {});
  }
  expect(digests()).toEqual(before);
});

describe('CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: /dev/null, /dev/console and /proc that are something else', () => {
  const corePattern = () => readFileSync('/proc/sys/kernel/core_pattern', 'utf8');

  test('devices of the image that are symlinks into /proc are never mounted or written through', async () => {
    const before = corePattern();
    const planted = (layer: string) => {
      mkdirSync(join(layer, 'dev'));
      for (const name of ['null', 'console', 'zero', 'tty', 'ptmx', 'fd', 'stdout']) {
        symlinkSync('/proc/sys/kernel/core_pattern', join(layer, 'dev', name));
      }
      for (const name of ['pts', 'shm', 'mqueue']) symlinkSync('/proc/sys', join(layer, 'dev', name));
    };
    const script = `for f in null console zero; do [ -L /dev/$f ] && echo link $f; done
      (echo "|/evil" > /proc/sys/kernel/core_pattern) 2>/dev/null && echo wrote
      (echo x > /proc/sysrq-trigger) 2>/dev/null && echo triggered
      cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c`;
    expect((await runOn(planted, script)).out.trim()).toBe('0');
    expect(corePattern()).toBe(before);
  });

  test('a terminal is not put on what the image has as its console', async () => {
    const before = corePattern();
    const planted = (layer: string) => {
      mkdirSync(join(layer, 'dev'));
      symlinkSync('/proc/sys/kernel/core_pattern', join(layer, 'dev/console'));
    };
    const script = '[ -c /dev/console ] && echo "|/evil" > /dev/console; echo over';
    const { out } = await runOn(planted, script, {}, true);
    expect(out).toContain('over');
    expect(corePattern()).toBe(before);
  });

  test.each([
    ...['/dev/null', '/dev/console', '/dev/pts/0', '/dev/ptmx', '/proc', '/proc/self/attr/exec'],
    ...['/proc/sys', '/proc/1/root', '/link/sys', '/link/self/attr/apparmor/exec', '/dev/../proc/sys'],
  ])('nothing is mounted over %s', async (dest) => {
    const mounts = [{ dest, readonly: false, source: { type: 'host' as const, path: victim } }];
    const planted = (layer: string) => symlinkSync('/proc', join(layer, 'link'));
    await expect(runOn(planted, 'true', { mounts })).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('CVE-2024-45310, CVE-2024-23652: mount points through symlinks to the host', () => {
  const file = (dest: string) => ({
    dest,
    readonly: true,
    source: { type: 'file' as const, data: Buffer.from('x'), uid: 0, gid: 0, mode: 0o400 },
  });

  test('are made in the root, not on the host, and nothing of the host’s is removed after the step', async () => {
    const planted = (layer: string) => symlinkSync(victim, join(layer, 'out'));
    const mounts = [
      file('/out/made'),
      file('/out/empty'),
      { dest: '/out/folder', readonly: false, source: { type: 'tmpfs' as const, size: 0 } },
    ];
    const { exitCode } = await runOn(planted, 'rm -rf /out; true', { mounts });
    expect(exitCode).toBe(0);
    // Also where the step itself puts the symlink there, under the runtime's feet.
    await h.run(`cd /; umount /a 2>/dev/null; rm -rf /b; ln -s ${victim} /b; true`, {
      mounts: [file('/b/empty'), file('/a/c')],
    });
    expect(readdirSync(victim).sort()).toEqual(['empty', 'text']);
  });
});

describe('CVE-2022-0492, CVE-2023-25809: cgroups', () => {
  test('a step makes no groups, moves no process, and sets no program that the host runs', async () => {
    const script = `cd /sys/fs/cgroup
      for d in . */; do [ -e $d/cgroup.procs ] && (mkdir $d/escape) 2>/dev/null && echo made $d; done
      for f in release_agent notify_on_release cgroup.procs devices.allow memory.limit_in_bytes memory.max pids.max; do
        for d in . */; do [ -e $d/$f ] && (echo 1 > $d/$f) 2>/dev/null && echo wrote $d/$f; done
      done; true`;
    expect((await h.run(script)).out).toBe('');
  });
});

describe('/proc and /sys', () => {
  test('switches of the whole machine cannot be set, and its memory and keys cannot be read', async () => {
    const writes = [
      ...['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sys/vm/panic_on_oom'],
      ...['/proc/sys/fs/binfmt_misc/register', '/proc/sysrq-trigger', '/proc/irq/default_smp_affinity'],
      ...[
        '/sys/kernel/uevent_helper',
        '/sys/power/state',
        '/sys/kernel/mm/ksm/run',
        '/proc/sys/user/max_user_namespaces',
      ],
    ];
    const script = [
      ...writes.map((path) => `(echo 1 > ${path}) 2>/dev/null && echo wrote ${path}`),
      'cat /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug 2>/dev/null | wc -c',
      'ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : | tr -d "\\n" | wc -c',
    ].join('\n');
    expect((await h.run(script)).out.trim().split('\n')).toEqual(['0', '0']);
  });

  test('no process’s root, working folder or open file in /proc is the host’s', async () => {
    const script = `for p in /proc/[0-9]*; do
        cat $p/root${victim}/text $p/cwd/${up}${victim}/text 2>/dev/null
        for f in $p/fd/*; do cat $f/${up}${victim}/text 2>/dev/null </dev/null; done
      done; cat /proc/self/mountinfo | grep -c proc`;
    const { out } = await h.run(script);
    expect(out).not.toContain(secret);
    expect(Number(out)).toBeGreaterThan(0);
  });
});

describe('sources and frontends', () => {
  const builds = new Builds();
  const kit = new GatewayKit();
  let root: string;
  beforeAll(async () => {
    await builds.open();
    await kit.open();
    root = kit.busybox();
  });
  afterAll(async () => {
    await kit.close();
    await builds.close();
  });

  test('CVE-2026-33748: a folder of a git context stays in the repository', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-holes-'));
    const repository = join(dir, 'app.git');
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { cwd: repository });
    mkdirSync(join(repository, 'sub'), { recursive: true });
    writeFileSync(join(repository, 'sub/Dockerfile'), 'FROM scratch\nCOPY . /\n');
    symlinkSync(victim, join(repository, 'out'));
    symlinkSync('/', join(repository, 'sub/top'));
    git('init', '-q', '-b', 'main');
    git('add', '.');
    git('commit', '-qm', 'first');
    writeFileSync(join(victim, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
    const server = await startServer((request, response) => answerGit(request, response, dir));
    try {
      for (const sub of [
        `${up}${victim}`,
        victim,
        'out',
        'sub/../../out',
        `sub/top${victim}`,
        'sub/top/etc',
      ]) {
        const context = `http://${server.host}/app.git#main:${sub}`;
        const built = await builds
          .build('', {}, { context, dockerfileText: undefined })
          .catch(() => undefined);
        expect(built === undefined ? [] : built.list('/')).not.toContain('/text');
        // Nor does the command take such a URL for a folder of its own.
        expect(chooseContext(context, undefined, process.stdin)).toMatchObject({
          context: { type: 'remote' },
        });
      }
    } finally {
      await server.stop();
      rmSync(dir, { recursive: true });
    }
  });

  test('files are made, copied and removed in the tree alone, by `..` and through symlinks as well', async () => {
    const out = scratch()
      .file(symlink(victim, '/out'))
      .file(symlink(`..${victim}`, '/up'));
    const ways = [`${up}${victim}`, '/out', '/up', `/x/${up}${victim}`];
    for (const way of ways) {
      const steps = [
        out.file(rm(`${way}/text`, { allowNotFound: true })),
        out.file(rm(`${way}/*`, { allowNotFound: true, wildcard: true })),
        out.file(rm(way, { allowNotFound: true })),
        out.file(mkfile(`${way}/made`, 'x')),
        out.file(mkdir(`${way}/folder`, { parents: true })),
        out.copy(out, '/out', `${way}/copied`),
      ];
      for (const state of steps) {
        const options = { engine: builds.engine, outputs: [{ type: 'cacheonly' as const, attrs: {} }] };
        await buildState(state, options).catch(() => {});
        expect(readdirSync(victim).sort()).toEqual(['empty', 'text']);
      }
      const copied = scratch().copy(out, `${way}/text`, '/stolen');
      expect(
        await buildState(copied, { engine: builds.engine, tags: ['stolen'] }).catch(() => 'refused'),
      ).toBe('refused');
    }
    expect(readFileSync(join(victim, 'text'), 'utf8')).toBe(secret);
  });

  test('CVE-2026-33747: IDs that a frontend makes up are no paths', async () => {
    const build = await kit.build({ locals: { root } });
    try {
      const { ref } = await build.client.solve({ Definition: marshal(local('root')) });
      for (const ContainerID of [`${up}${victim}/evil`, '../../evil', '/evil', 'a/../../b', '..']) {
        await build.client.newContainer({ ContainerID, Mounts: [{ dest: '/', resultID: ref }] });
        await build.client.releaseContainer({ ContainerID });
      }
    } finally {
      await build.end();
    }
    expect(readdirSync(victim).sort()).toEqual(['empty', 'text']);
    expect(existsSync('/evil')).toBe(false);
    expect(lstatSync(victim).isDirectory()).toBe(true);
  });
});
