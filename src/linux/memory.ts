/** glibc's memory. */
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
