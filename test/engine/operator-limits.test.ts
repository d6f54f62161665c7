/** The limits that an operator sets for every step (`step-memory`, `step-cpus`, `step-timeout`, `step-ulimit`, …). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { operatorLimits, stepLimitsFromEnv } from '../../src/engine/step-limits.ts';
import { capResources, withUsual } from '../../src/executor/limits.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';

const builds = new Builds();
beforeAll(() =>
  builds.open({
    stepMemory: 48 << 20,
    stepCpus: 0.5,
    stepUlimits: [{ name: 'nofile', soft: 123, hard: 456 }],
    stepShmSize: 8 << 20,
  }),
);
afterAll(async () => {
  await builds.close();
  await closePool();
});

test('hold steps whose build says nothing', async () => {
  const { read } = await builds.build(`RUN ulimit -n > /tmp/soft; ulimit -Hn > /tmp/hard
RUN df -k /dev/shm | tail -1 > /tmp/shm
RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max > /tmp/memory 2>/dev/null || true`);
  expect([read('/tmp/soft'), read('/tmp/hard')]).toEqual(['123\n', '456\n']);
  expect(read('/tmp/shm')).toMatch(/ 8192 /);
  expect(read('/tmp/memory')).toContain(String(48 << 20));
});

test('give way to what a build asks for, but not beyond memory and processors', async () => {
  const limits = { memory: 64 << 20, cpuPeriod: 10_000, cpuQuota: 10_000 };
  const { read } = await builds.build(
    `RUN ulimit -n > /tmp/soft; x=0123456789abcdef; (while true; do x=$x$x; done) || echo "ended by $?" > /tmp/end`,
    {},
    { ulimits: [{ name: 'nofile', soft: 99, hard: 99 }], limits },
  );
  expect([read('/tmp/soft'), read('/tmp/end')]).toEqual(['99\n', 'ended by 137\n']);
  expect(builds.logs).toContain('warning: the limit of memory (64MiB) is lowered to the most');
  expect(builds.logs).toContain('warning: the limit of CPU time (10000 of 10000 µs) is lowered');
  expect(builds.logs).toContain('warning: the kernel killed a process of it at the memory limit of 48MiB');
});

test('a step that runs too long is stopped, with all that it started', async () => {
  const hasty = new Builds();
  await hasty.open({ stepTimeout: 3000 });
  try {
    await expect(hasty.build('RUN echo begun; sleep 1000 & sleep 1000')).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringMatching(/sleep 1000" was stopped: it ran longer than a step may here \(3 s\)$/),
      // The programs that held it say nothing of its end.
      logTail: ['begun'],
      step: expect.stringContaining('RUN echo begun'),
      hint: expect.stringContaining('step-timeout'),
    });
  } finally {
    await hasty.close();
  }
});

test('are read from settings and from the environment, by their names', () => {
  const texts: Record<string, string> = {
    'max-parallelism': '3',
    'step-cpus': '1.5',
    'step-log-max-size': '10m',
    'step-log-max-speed': '-1',
    'step-memory': '2g',
    'step-shm-size': '128m',
    'max-concurrent-downloads': '7',
    'max-concurrent-uploads': '2',
    'max-download-attempts': '1',
    'step-timeout': '1h30m',
    'step-ulimit': 'nofile=10:20, core=0',
  };
  const limits = {
    maxParallelism: 3,
    stepCpus: 1.5,
    stepLogSize: 10 << 20,
    stepLogSpeed: Number.POSITIVE_INFINITY,
    stepMemory: 2 ** 31,
    stepShmSize: 128 << 20,
    maxConcurrentDownloads: 7,
    maxConcurrentUploads: 2,
    maxDownloadAttempts: 1,
    stepTimeout: 5_400_000,
    stepUlimits: [
      { name: 'nofile', soft: 10, hard: 20 },
      { name: 'core', soft: 0, hard: 0 },
    ],
  };
  expect(operatorLimits((name) => texts[name])).toEqual(limits);
  const variables = Object.entries(texts).map(([name, text]) => [
    `DRYDOCK_${name.toUpperCase().replaceAll('-', '_')}`,
    text,
  ]);
  expect(stepLimitsFromEnv(Object.fromEntries(variables))).toEqual(limits);
  expect(stepLimitsFromEnv({ DRYDOCK_STEP_MEMORY: '' })).toEqual({});
  const theirs = { BUILDKIT_STEP_LOG_MAX_SIZE: '-1', BUILDKIT_STEP_LOG_MAX_SPEED: '100' };
  expect(stepLimitsFromEnv(theirs)).toEqual({ stepLogSize: Number.POSITIVE_INFINITY, stepLogSpeed: 100 });
  expect(stepLimitsFromEnv({ ...theirs, DRYDOCK_STEP_LOG_MAX_SIZE: '7' }).stepLogSize).toBe(7);
  for (const [name, text, says] of [
    ['DRYDOCK_STEP_MEMORY', 'much', 'invalid DRYDOCK_STEP_MEMORY "much": want a size such as 2g'],
    ['BUILDKIT_STEP_LOG_MAX_SIZE', '-2', 'invalid BUILDKIT_STEP_LOG_MAX_SIZE "-2": want bytes'],
    ['DRYDOCK_STEP_CPUS', '0', 'invalid DRYDOCK_STEP_CPUS "0": want a number of processors'],
    ['DRYDOCK_STEP_TIMEOUT', '90d', 'invalid DRYDOCK_STEP_TIMEOUT "90d": want seconds'],
    ['DRYDOCK_STEP_ULIMIT', 'files=3', 'DRYDOCK_STEP_ULIMIT: invalid ulimit type: files'],
    ['DRYDOCK_MAX_PARALLELISM', '0', 'invalid DRYDOCK_MAX_PARALLELISM "0": want a number from 1 to 1000000'],
  ] as const) {
    expect(() => stepLimitsFromEnv({ [name]: text })).toThrow(says);
  }
});

test('a quota is the operator’s share of the build’s own period', () => {
  const of = (asked: Parameters<typeof capResources>[0], cpus: number) =>
    capResources(asked, { cpus }).resources;
  expect(of(undefined, 1.5)).toEqual({ cpuPeriod: 100_000, cpuQuota: 150_000 });
  expect(of({ cpuPeriod: 50_000 }, 2)).toEqual({ cpuPeriod: 50_000, cpuQuota: 100_000 });
  expect(of({ cpuQuota: 20_000 }, 1)).toEqual({ cpuQuota: 20_000 });
  expect(of({ cpuQuota: -1 }, 0.01)).toEqual({ cpuPeriod: 100_000, cpuQuota: 1000 });
  // Swap beyond memory stays as it was asked for.
  expect(capResources({ memory: 100, memorySwap: 130 }, { memory: 60 }).resources).toEqual({
    memory: 60,
    memorySwap: 90,
  });
  expect(capResources({ memory: 50 }, { memory: 60 })).toEqual({ resources: { memory: 50 }, lowered: [] });
  const usual = [
    { name: 'nofile', soft: 1, hard: 2 },
    { name: 'core', soft: 0, hard: 0 },
  ];
  expect(withUsual([{ name: 'core', soft: 5, hard: 5 }], usual)).toEqual([
    { name: 'nofile', soft: 1, hard: 2 },
    { name: 'core', soft: 5, hard: 5 },
  ]);
});
