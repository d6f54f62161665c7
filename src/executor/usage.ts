/** Reads what a step has used, from the files of its cgroup: of version 2, or of the controllers of version 1. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readText } from '../linux/index.ts';
import type { MemoryNumber, UsageSample } from '../progress/index.ts';
import type { CgroupHost } from './cgroups.ts';

import { pressureIn } from './pressure.ts';

type Sample = Omit<UsageSample, 'timestamp'>;

/** What the processes of a group have used by now. What the machine does not count is missing. */
export function usageOf(host: CgroupHost, group: string): Sample {
  const read = (file: string) => {
    const tree = treeOf(host, group, file);
    return tree === undefined ? undefined : readText(join(tree, group, file));
  };
  return host.kind === 'v2' ? sampleV2(read) : sampleV1(read);
}

type Read = (file: string) => string | undefined;

/** Files of cgroups → the tree that has them. The controllers of version 1 each have a tree of their own. */
const known = new WeakMap<CgroupHost, Map<string, string | undefined>>();

function treeOf(host: CgroupHost, group: string, file: string): string | undefined {
  if (host.kind === 'v2') return host.trees[0];
  const files = known.get(host) ?? new Map<string, string | undefined>();
  known.set(host, files);
  const told = files.get(file);
  if (told !== undefined || files.has(file)) return told;
  const found = host.trees.find((tree) => existsSync(join(tree, group, file)));
  // A group that is not made yet says nothing of later ones.
  if (found !== undefined || existsSync(join(host.trees[0] ?? '', group))) files.set(file, found);
  return found;
}

/** https://docs.kernel.org/admin-guide/cgroup-v2.html has the files. */
function sampleV2(read: Read): Sample {
  const cpu = numbersIn(read('cpu.stat'));
  const memory = numbersIn(read('memory.stat'));
  const events = numbersIn(read('memory.events'));
  const io = read('io.stat');
  return withoutNothing({
    cpuStat: {
      usageNanos: times(cpu.get('usage_usec'), 1000),
      userNanos: times(cpu.get('user_usec'), 1000),
      systemNanos: times(cpu.get('system_usec'), 1000),
      nrPeriods: cpu.get('nr_periods'),
      nrThrottled: cpu.get('nr_throttled'),
      throttledNanos: times(cpu.get('throttled_usec'), 1000),
      pressure: pressureIn(read('cpu.pressure')),
    },
    memoryStat: {
      ...picked(memory, memoryNamesV2),
      swapBytes: numberIn(read('memory.swap.current')),
      peak: numberIn(read('memory.peak')),
      ...picked(events, eventNames),
      pressure: pressureIn(read('memory.pressure')),
    },
    ioStat: {
      readBytes: sumOf(io, /\brbytes=(\d+)/g),
      writeBytes: sumOf(io, /\bwbytes=(\d+)/g),
      discardBytes: sumOf(io, /\bdbytes=(\d+)/g),
      readIOs: sumOf(io, /\brios=(\d+)/g),
      writeIOs: sumOf(io, /\bwios=(\d+)/g),
      discardIOs: sumOf(io, /\bdios=(\d+)/g),
      pressure: pressureIn(read('io.pressure')),
    },
    pidsStat: { current: numberIn(read('pids.current')) },
  });
}

/** https://docs.kernel.org/admin-guide/cgroup-v1/ has the files. Bytes written later, from the page cache, count for nobody. */
function sampleV1(read: Read): Sample {
  const cpu = numbersIn(read('cpu.stat'));
  const memory = numbersIn(read('memory.stat'));
  const bytes = read('blkio.throttle.io_service_bytes_recursive');
  const operations = read('blkio.throttle.io_serviced_recursive');
  return withoutNothing({
    cpuStat: {
      usageNanos: numberIn(read('cpuacct.usage')),
      userNanos: numberIn(read('cpuacct.usage_user')),
      systemNanos: numberIn(read('cpuacct.usage_sys')),
      nrPeriods: cpu.get('nr_periods'),
      nrThrottled: cpu.get('nr_throttled'),
      throttledNanos: cpu.get('throttled_time'),
    },
    memoryStat: {
      ...picked(memory, memoryNamesV1),
      kernel: numberIn(read('memory.kmem.usage_in_bytes')),
      peak: numberIn(read('memory.max_usage_in_bytes')),
      maxEvents: numberIn(read('memory.failcnt')) || undefined,
      ...picked(numbersIn(read('memory.oom_control')), { oomKillEvents: 'oom_kill' }),
    },
    ioStat: {
      readBytes: sumOf(bytes, / Read (\d+)/g),
      writeBytes: sumOf(bytes, / Write (\d+)/g),
      discardBytes: sumOf(bytes, / Discard (\d+)/g),
      readIOs: sumOf(operations, / Read (\d+)/g),
      writeIOs: sumOf(operations, / Write (\d+)/g),
      discardIOs: sumOf(operations, / Discard (\d+)/g),
    },
    pidsStat: { current: numberIn(read('pids.current')) },
  });
}

const memoryNamesV2: Partial<Record<MemoryNumber, string>> = {
  anon: 'anon',
  file: 'file',
  kernel: 'kernel',
  kernelStack: 'kernel_stack',
  pageTables: 'pagetables',
  sock: 'sock',
  vmalloc: 'vmalloc',
  shmem: 'shmem',
  fileMapped: 'file_mapped',
  fileDirty: 'file_dirty',
  fileWriteback: 'file_writeback',
  slab: 'slab',
  pgscan: 'pgscan',
  pgsteal: 'pgsteal',
  pgfault: 'pgfault',
  pgmajfault: 'pgmajfault',
};

const memoryNamesV1: Partial<Record<MemoryNumber, string>> = {
  swapBytes: 'total_swap',
  anon: 'total_rss',
  file: 'total_cache',
  shmem: 'total_shmem',
  fileMapped: 'total_mapped_file',
  fileDirty: 'total_dirty',
  fileWriteback: 'total_writeback',
  pgfault: 'total_pgfault',
  pgmajfault: 'total_pgmajfault',
};

const eventNames: Partial<Record<MemoryNumber, string>> = {
  lowEvents: 'low',
  highEvents: 'high',
  maxEvents: 'max',
  oomEvents: 'oom',
  oomKillEvents: 'oom_kill',
};

/** The numbers of a file with a name and a number in each line. */
function numbersIn(text = ''): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, name = '', number] of text.matchAll(/^(\S+) (\d+)$/gm)) found.set(name, Number(number));
  return found;
}

function numberIn(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? '';
  return /^\d+$/.test(trimmed) ? Number(trimmed) : undefined;
}

/** Counts of events that never came are left out, as BuildKit leaves them out. */
function picked(
  numbers: ReadonlyMap<string, number>,
  names: Partial<Record<MemoryNumber, string>>,
): Partial<Record<MemoryNumber, number>> {
  const entries = Object.entries(names).map(([name, file]): [string, number | undefined] => {
    const value = numbers.get(file);
    return [name, name.endsWith('Events') ? value || undefined : value];
  });
  return Object.fromEntries(entries);
}

function sumOf(text: string | undefined, pattern: RegExp): number | undefined {
  let sum: number | undefined;
  for (const [, number] of (text ?? '').matchAll(pattern)) sum = (sum ?? 0) + Number(number);
  return sum;
}

function times(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}

/** Leaves out what is not known, and groups of which nothing is. */
function withoutNothing(sample: Record<string, Record<string, unknown>>): Sample {
  const groups = Object.entries(sample).flatMap(([name, group]) => {
    const values = Object.entries(group).filter(([, value]) => value !== undefined);
    return values.length === 0 ? [] : [[name, Object.fromEntries(values)]];
  });
  return Object.fromEntries(groups) as Sample;
}
