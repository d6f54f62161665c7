/** What a step has used of the machine: read of a real step, and of a version 2 cgroup made of plain files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { CgroupHost } from '../../src/executor/cgroups.ts';
import { cpuBetween, sampleMachine } from '../../src/executor/machine-usage.ts';
import { Sampling } from '../../src/executor/sampling.ts';
import { usageOf } from '../../src/executor/usage.ts';
import { usedText } from '../../src/explain/used.ts';
import { usedSum } from '../../src/progress/index.ts';
import { Harness } from './harness.ts';

describe('a step', () => {
  let h: Harness;
  beforeAll(() => {
    h = new Harness();
  });
  afterAll(() => h.close());

  test('is told to have used processors, memory and disks, also when it fails', async () => {
    // 40 MB in memory, and a little straight to a disk, as tests' own files may be in memory.
    const disk = mkdtempSync('/var/tmp/drydock-usage-');
    const script = `dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null
      dd if=/dev/zero of=/disk/y bs=1M count=4 oflag=direct 2>/dev/null
      i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3`;
    const mounts = [{ dest: '/disk', readonly: false, source: { type: 'host' as const, path: disk } }];
    const { exitCode, usage } = await h.run(script, { mounts });
    rmSync(disk, { recursive: true });
    expect(exitCode).toBe(3);
    const last = usage?.samples.at(-1);
    expect(last?.cpuStat?.usageNanos).toBeGreaterThan(20_000_000);
    expect((last?.cpuStat?.userNanos ?? 0) + (last?.cpuStat?.systemNanos ?? 0)).toBeGreaterThan(0);
    expect(last?.memoryStat?.peak).toBeGreaterThan(40 << 20);
    expect(last?.memoryStat?.pgfault).toBeGreaterThan(0);
    expect(last?.ioStat?.writeBytes).toBeGreaterThanOrEqual(4 << 20);
    expect(last?.ioStat?.writeIOs).toBeGreaterThan(0);
    expect(last?.pidsStat?.current).toBeDefined();
    expect(Date.parse(last?.timestamp ?? '')).toBeGreaterThan(Date.now() - 60_000);
    expect(usage?.sysCPUStat).toMatchObject({ user: expect.any(Number), steal: expect.any(Number) });
  });

  test('one that was killed for want of memory has that in its numbers', async () => {
    const limits = { memory: 20 << 20, memorySwap: 20 << 20 };
    const { usage } = await h.run('head -c 100000000 /dev/zero | tail', { resources: limits });
    const { memoryStat } = usage?.samples.at(-1) ?? {};
    expect(memoryStat?.oomKillEvents).toBeGreaterThan(0);
    expect(memoryStat?.peak).toBeLessThanOrEqual(20 << 20);
  });
});

describe('cgroup v2', () => {
  const tree = mkdtempSync(join(tmpdir(), 'drydock-usage-'));
  const host: CgroupHost = { kind: 'v2', trees: [tree], base: '', controllers: new Set() };
  mkdirSync(join(tree, 'step'));
  afterAll(() => rmSync(tree, { recursive: true }));
  const file = (name: string, text: string) => writeFileSync(join(tree, 'step', name), text);

  test('each number is where BuildKit has it', () => {
    expect(usageOf(host, '/step')).toEqual({});
    file('cpu.stat', 'usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 3\nnr_throttled 1\n');
    file('cpu.pressure', 'some avg10=1.50 avg60=0.00 avg300=0.25 total=77\n');
    file('memory.stat', 'anon 10\nfile 20\nkernel 5\npagetables 7\npgfault 30\nworkingset_nodes 9\n');
    file('memory.events', 'low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\n');
    file('memory.peak', '99\n');
    file('memory.swap.current', '0\n');
    file(
      'io.stat',
      '8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n8:16 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=1 dios=1\n',
    );
    file('pids.current', '2\n');
    const pressure = { some: { avg10: 1.5, avg60: 0, avg300: 0.25, total: 77 }, full: null };
    expect(usageOf(host, '/step')).toEqual({
      cpuStat: {
        usageNanos: 1_500_000,
        userNanos: 1_000_000,
        systemNanos: 500_000,
        nrPeriods: 3,
        nrThrottled: 1,
        pressure,
      },
      memoryStat: {
        anon: 10,
        file: 20,
        kernel: 5,
        pageTables: 7,
        pgfault: 30,
        swapBytes: 0,
        peak: 99,
        maxEvents: 4,
        oomEvents: 1,
        oomKillEvents: 1,
      },
      ioStat: { readBytes: 11, writeBytes: 22, discardBytes: 1, readIOs: 33, writeIOs: 44, discardIOs: 1 },
      pidsStat: { current: 2 },
    });
  });
});

describe('samples', () => {
  afterEach(() => void vi.useRealTimers());

  test('are taken every two seconds; of a long step ever fewer are kept', () => {
    vi.useFakeTimers();
    let n = 0;
    const sampling = new Sampling(() => ++n, 3);
    vi.advanceTimersByTime(11_000);
    // Six would be twice as many as wanted: every second one goes, and the next comes after four seconds.
    vi.advanceTimersByTime(1000);
    vi.advanceTimersByTime(3999);
    expect(n).toBe(6);
    vi.advanceTimersByTime(1);
    expect(sampling.end()).toEqual([2, 4, 6, 7, 8]);
    vi.advanceTimersByTime(100_000);
    expect(n).toBe(8);
  });

  test('of the machine have its processors, memory and waits', () => {
    const [sample] = sampleMachine().end();
    expect(sample).toMatchObject({
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
      cpuStat: { user: expect.any(Number), idle: expect.any(Number), guestNice: expect.any(Number) },
      procStat: { contextSwitches: expect.any(Number), processCreated: expect.any(Number) },
      memoryStat: { total: expect.any(Number), available: expect.any(Number) },
    });
    expect(sample?.memoryStat?.total).toBeGreaterThan(sample?.memoryStat?.free ?? 0);
    const cpu = sample?.cpuStat;
    if (cpu !== undefined) expect(cpuBetween(cpu, { ...cpu, user: cpu.user + 1.23456 }).user).toBe(1.235);
  });
});

test('in a line: what was not counted is left out', () => {
  const usage = {
    samples: [
      { timestamp: '', cpuStat: { usageNanos: 9 } },
      {
        timestamp: '',
        cpuStat: { usageNanos: 1.526e9 },
        memoryStat: { peak: 45 << 20 },
        ioStat: { writeBytes: 0 },
      },
    ],
  };
  expect(usedText(usedSum(usage))).toBe('used 1.53 s of CPU, 45MiB of memory at most, wrote 0B');
  expect(usedSum({ samples: [{ timestamp: '' }] })).toEqual({});
});
