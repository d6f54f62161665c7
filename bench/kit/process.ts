/** What processes take, as /proc has it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Clock ticks of /proc per second; 100 on every Linux that Node runs on. */
const ticks = 100;
const pageSize = 4096;

interface Stat {
  parent: number;
  /** Processor seconds of itself and of children that have ended. */
  cpu: number;
}

function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`);
  // The second field, the name, may hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields.length < 16) return undefined;
  const cpu = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
  return { parent: Number(fields[1]), cpu: cpu / ticks };
}

function treesOf(roots: readonly number[]): Map<number, Stat> {
  const all = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? statOf(pid) : undefined;
    if (stat !== undefined) all.set(pid, stat);
  }
  const isBelow = (pid: number) => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = all.get(at)?.parent) {
      if (roots.includes(at)) return true;
    }
    return false;
  };
  return new Map([...all].filter(([pid]) => isBelow(pid)));
}

/** Resident bytes of process trees. Shared pages count once per process, for all alike. */
export function residentOf(roots: readonly number[]): number {
  let total = 0;
  for (const pid of treesOf(roots).keys()) {
    total += Number(read(`/proc/${pid}/statm`).split(' ')[1] ?? 0) * pageSize;
  }
  return total;
}

/** Processor seconds of process trees so far, with those of children that have ended and were waited for. */
export function cpuOf(roots: readonly number[]): number {
  let total = 0;
  for (const { cpu } of treesOf(roots).values()) total += cpu;
  return total;
}

/** Processor seconds of this process's children that have ended. */
export function endedChildrenCpu(): number {
  const text = read('/proc/self/stat');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / ticks;
}

/** The most memory that one process had resident since `resetPeak`, bytes. */
export function peakOf(pid: number): number {
  return memory(pid, 'VmHWM');
}

/** What one process has resident now, bytes. */
export function residentNow(pid: number): number {
  return memory(pid, 'VmRSS');
}

/** How many files a process has open. */
export function openFilesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Has the kernel start anew with a process's peak. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function memory(pid: number, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
