/** What the whole machine is doing, from /proc: https://man7.org/linux/man-pages/man5/proc.5.html */
import { readText } from '../linux/index.ts';
import type { MachineCpu, MachineSample } from '../progress/index.ts';

import { pressureIn } from './pressure.ts';
import { Sampling } from './sampling.ts';

/** Most samples of the machine in a record, as in BuildKit. */
const mostSamples = 20;
/** Builds that record the machine at the same time share samples that are at most so old, in ms. */
const fresh = 500;

const cpuNames = [
  ...['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal', 'guest', 'guestNice'],
] as (keyof MachineCpu)[];

/** Names of /proc/meminfo → names in BuildKit's records, which have them in kB as well. */
const memoryNames: Record<string, string> = {
  MemTotal: 'total',
  MemFree: 'free',
  MemAvailable: 'available',
  Buffers: 'buffers',
  Cached: 'cached',
  Active: 'active',
  Inactive: 'inactive',
  SwapTotal: 'swap',
  Dirty: 'dirty',
  Writeback: 'writeback',
  Slab: 'slab',
};

let latest: { at: number; sample: MachineSample } | undefined;

/** Samples the machine until `end` is called on the result. */
export function sampleMachine(): Sampling<MachineSample> {
  return new Sampling(() => {
    const at = performance.now();
    if (latest === undefined || at - latest.at > fresh) latest = { at, sample: machineNow() };
    return latest.sample;
  }, mostSamples);
}

function machineNow(): MachineSample {
  const stat = readText('/proc/stat');
  const count = (name: string) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(stat)?.[1] ?? 0);
  const memory: Record<string, number> = {};
  for (const [, name = '', kb] of readText('/proc/meminfo').matchAll(/^(\w+): +(\d+) kB$/gm)) {
    const known = Object.hasOwn(memoryNames, name) ? memoryNames[name] : undefined;
    if (known !== undefined) memory[known] = Number(kb);
  }
  return {
    timestamp: new Date().toISOString(),
    cpuStat: cpuIn(stat),
    procStat: {
      contextSwitches: count('ctxt'),
      processCreated: count('processes'),
      processesRunning: count('procs_running'),
    },
    memoryStat: memory,
    cpuPressure: pressureIn(readText('/proc/pressure/cpu')),
    memoryPressure: pressureIn(readText('/proc/pressure/memory')),
    ioPressure: pressureIn(readText('/proc/pressure/io')),
  };
}

/** Seconds of processor time that the machine has spent since it started. */
export function machineCpu(): MachineCpu {
  return cpuIn(readText('/proc/stat'));
}

/** The seconds between two moments, to the millisecond. */
export function cpuBetween(before: MachineCpu, after: MachineCpu): MachineCpu {
  return cpuOf((name) => round(after[name] - before[name]));
}

/** The kernel counts in hundredths of a second (USER_HZ) on all machines that Drydock runs on. */
function cpuIn(stat: string): MachineCpu {
  const ticks = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').map(Number);
  return cpuOf((name) => (ticks[cpuNames.indexOf(name)] ?? 0) / 100);
}

function cpuOf(value: (name: keyof MachineCpu) => number): MachineCpu {
  return Object.fromEntries(cpuNames.map((name) => [name, value(name)])) as unknown as MachineCpu;
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
