/** The limits that a build sets for its steps, in every way in: each is obeyed, and running into it is told with it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { local, scratch } from '../../src/llb/llb.ts';
import { buildState } from '../../src/sdk/build.ts';
import { closePool } from '../../src/workers/pool.ts';
import { ControlKit, failure } from '../api/buildkit/control-kit.ts';
import { builtOf, bytesOf, shellContext } from '../kit/api-builds.ts';
import { Builds } from '../kit/builds.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { onLocal } from '../kit/stores.ts';

afterAll(() => closePool());

const hungry = 'x=0123456789abcdef; while :; do x=$x$x; done';
const told = 'cannot allocate memory (the kernel killed a process of it at the memory limit of 32MiB)';
const bytes = 32 << 20;
/** What a step sees of its limits: quota and period, and the processors it may use. */
const look =
  'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/cpu.max 2>/dev/null; grep Cpus_allowed_list /proc/self/status; ulimit -n';
const seen = /20000\s[\s\S]*50000\s[\s\S]*Cpus_allowed_list:\s*0\s[\s\S]*\b77\b/;

onLocal('Control.Solve', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(() => kit.daemon.stop());

  const solve = (step: string, options: Record<string, string>) => {
    const root = kit.folder({ Dockerfile: `FROM scratch\nCOPY . /\nENV PATH=/bin\nRUN ${step}\n` });
    busyboxRoot(root);
    return kit.solve(
      { Frontend: 'dockerfile.v0', FrontendAttrs: options },
      { dirs: { context: root, dockerfile: root } },
    );
  };

  test('the options of buildx’s --resource, of bake’s resources and of buildctl’s --opt', async () => {
    const error = await failure(solve(hungry, { memory: String(bytes), memswap: String(bytes) }));
    expect(error.message).toContain(told);
    const options = { cpuquota: '20000', cpuperiod: '50000', cpusetcpus: '0', ulimit: 'nofile=77:77' };
    const { status } = await solve(look, options);
    const log = status.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join('');
    expect(log).toMatch(seen);
  });

  test('the parameters of POST /build', async () => {
    const ulimits = encodeURIComponent(JSON.stringify([{ Name: 'nofile', Soft: 77, Hard: 77 }]));
    const query = `version=2&cpuquota=20000&cpuperiod=50000&cpusetcpus=0&cpushares=0&ulimits=${ulimits}`;
    const answer = await kit.daemon.ask('POST', `/build?${query}`, {
      body: bytesOf(shellContext(`RUN ${look}`, {}, ['cat', 'grep'])),
      headers: { 'content-type': 'application/x-tar' },
    });
    expect(builtOf(answer).log).toMatch(seen);
  });

  test('what cannot be is refused by name', async () => {
    for (const [options, says] of [
      [{ memory: '64m' }, 'invalid memory value: 64m'],
      [{ memswap: '1' }, 'needs a limit of memory'],
      [{ memory: '4096', memswap: '1024' }, 'is below the limit of memory'],
      [{ cpuquota: '5' }, 'the CPU quota cannot be 5'],
      [{ cpusetcpus: 'all' }, 'invalid cpusetcpus value: all'],
      [{ ulimit: 'files=1' }, 'invalid ulimit type: files'],
      [{ ulimit: 'nofile=2:1' }, 'soft limit must be less than or equal to hard limit'],
    ] as [Record<string, string>, string][]) {
      expect((await failure(solve('true', options))).message).toContain(says);
    }
  });
});

test('build() and buildState()', async () => {
  const builds = new Builds();
  try {
    await builds.open();
    await expect(builds.build(`RUN ${hungry}`, {}, { limits: { memory: bytes } })).rejects.toThrow(told);
    const root = builds.context({});
    busyboxRoot(root);
    const state = scratch()
      .copy(local('root'), '/', '/')
      .run(['/bin/sh', '-c', hungry], { env: { PATH: '/bin' } })
      .root();
    await expect(
      buildState(state, { engine: builds.engine, locals: { root }, limits: { memory: bytes }, tags: ['x'] }),
    ).rejects.toThrow(told);
  } finally {
    await builds.close();
  }
});

test('the command’s own flags, and docker build’s', async () => {
  const cli = new Cli();
  try {
    await cli.makeBase();
    const context = cli.files('app', {
      Dockerfile: `FROM base\nRUN ${look}\n`,
      'hungry.Dockerfile': `FROM base\nRUN ${hungry}\n`,
    });
    const hog = ['build', '-q', '-f', `${context}/hungry.Dockerfile`];
    for (const flags of [
      ['-m', '32m'],
      ['--resource', 'memory=32m'],
    ]) {
      expect((await cli.run([...hog, ...flags, context])).stderr).toContain(told);
    }
    const cpu = [
      '--cpu-quota',
      '20000',
      '--cpu-period',
      '50000',
      '--cpuset-cpus',
      '0',
      '--ulimit',
      'nofile=77',
    ];
    expect((await cli.ok(['build', '--progress=plain', '--no-cache', ...cpu, context])).stderr).toMatch(seen);
    const low = await cli.run(['build', '-q', '--no-cache', '--ulimit', 'nofile=2:3', context]);
    expect(low.stderr).toContain('the ulimit nofile=2:3 is too low for a container to start');
  } finally {
    cli.close();
  }
});
