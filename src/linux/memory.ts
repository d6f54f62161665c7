/** The process's memory: glibc's, and the pages of programs that it has mapped. */
import { readFileSync } from 'node:fs';
import { fns } from './call.ts';

/** malloc.h */
const M_ARENA_MAX = -8;

/**
 * Limits the arenas that glibc's allocator keeps from now on. Each thread takes one of its own by default, and what a
 * thread gives back stays in its arena.
 */
export function limitArenas(most: number): void {
  fns.mallopt(M_ARENA_MAX, most);
}

/** Gives memory that the allocator holds and nobody uses back to the kernel. */
export function trimMemory(): void {
  fns.malloc_trim(0);
}

/** sys/mman.h */
const MADV_DONTNEED = 4;
/** Mappings with fewer kB in memory are not worth a call. */
const least = 1024;

/**
 * Gives up the pages of mapped programs and libraries that are as they are in their files, most of them of Node itself.
 * They stay in the system's cache of files as long as there is room, and come back page by page as they are used.
 * Returns how many kB they were.
 */
export function forgetProgram(smaps = readFileSync('/proc/self/smaps', 'utf8')): number {
  let kilobytes = 0;
  for (const { from, to, resident } of unchangedMappings(smaps)) {
    if (resident >= least && fns.madvise(from, Number(to - from), MADV_DONTNEED) === 0) kilobytes += resident;
  }
  return kilobytes;
}

/** A mapping of a file that nobody has written to, and how many kB of it are in memory. */
interface Mapping {
  from: bigint;
  to: bigint;
  resident: number;
}

/**
 * The mappings of files in the text of `/proc/PID/smaps` that cannot be written to and of which no page is the process's own:
 * what the loader has changed (relocated addresses) must stay. https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html
 */
export function unchangedMappings(smaps: string): Mapping[] {
  const found: Mapping[] = [];
  for (const text of smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +\//.exec(text);
    if (head === null) continue;
    const number = (name: string) =>
      Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1] ?? Number.NaN);
    if (number('Private_Dirty') !== 0 || number('Anonymous') !== 0 || number('Swap') !== 0) continue;
    found.push({ from: BigInt(`0x${head[1]}`), to: BigInt(`0x${head[2]}`), resident: number('Rss') });
  }
  return found;
}
