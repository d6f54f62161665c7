/** The process's memory: glibc's, and the pages of programs that it has mapped. */
import { readFileSync, readlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
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

/** The same on a thread of libuv's: the main thread waits for no more than the arena that it wants next. */
export function trimMemoryAside(): Promise<void> {
  const trim = fns.malloc_trim as unknown as { async(pad: number, done: () => void): void };
  return new Promise((resolve) => trim.async(0, resolve));
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
export function forgetProgram(smaps = readSmaps()): number {
  let kilobytes = 0;
  for (const mapping of unchangedMappings(smaps)) {
    if (mapping.resident >= least && forget(mapping)) kilobytes += mapping.resident;
  }
  return kilobytes;
}

/**
 * The pages of Node itself, for a process that gives them up often. Where they are is found once: the kernel goes through
 * all memory of the process to tell, and a program, unlike a library, is never unloaded.
 */
export class ProgramPages {
  readonly #mappings: readonly Range[];

  /** Of this process, whose memory a thread of libuv's goes through. */
  static async find(): Promise<ProgramPages> {
    return new ProgramPages(await readFile('/proc/self/smaps', 'utf8'));
  }

  constructor(smaps: string, program = readlinkSync('/proc/self/exe')) {
    // Their paths are parts of the whole text, which would be kept with them.
    this.#mappings = unchangedMappings(smaps)
      .filter(({ path }) => path === program)
      .map(({ from, to }) => ({ from, to }));
  }

  /** Gives up those that are in memory, in about a ms. */
  forget(): void {
    for (const mapping of this.#mappings) forget(mapping);
  }
}

function readSmaps(): string {
  return readFileSync('/proc/self/smaps', 'utf8');
}

function forget({ from, to }: Range): boolean {
  return fns.madvise(from, Number(to - from), MADV_DONTNEED) === 0;
}

/** Addresses, the last of them not included. */
interface Range {
  from: bigint;
  to: bigint;
}

/** A mapping of a file that nobody has written to, and how many kB of it are in memory. */
interface Mapping extends Range {
  path: string;
  resident: number;
}

/**
 * The mappings of files in the text of `/proc/PID/smaps` that cannot be written to and of which no page is the process's own:
 * what the loader has changed (relocated addresses) must stay. https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html
 */
export function unchangedMappings(smaps: string): Mapping[] {
  const found: Mapping[] = [];
  for (const text of smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +(\/.*)$/m.exec(text);
    if (head === null) continue;
    const number = (name: string) =>
      Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1] ?? Number.NaN);
    if (number('Private_Dirty') !== 0 || number('Anonymous') !== 0 || number('Swap') !== 0) continue;
    const [, from, to, path = ''] = head;
    found.push({ path, from: BigInt(`0x${from}`), to: BigInt(`0x${to}`), resident: number('Rss') });
  }
  return found;
}
