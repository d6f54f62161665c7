/**
 * Keeps the memory of large streams from being cleared away at great cost.
 *
 * Each chunk of a stream has memory of its own outside of V8's heap. V8 frees it by a small collection, of young
 * objects alone, but begins a small one only when the heap's own young objects have become many megabytes. Chunks have few of
 * those. So their memory reaches the limit (64 MB) at which V8 goes through all objects there are, with all processors,
 * and that again and again: it took a third of the processor time of a transfer of 2 GB. A small collection in time
 * takes a third of a millisecond.
 */
import { collectYoung } from './collect.ts';

/** The bytes of a stream after which its chunks' memory is freed; in each layer of it they were copied once. */
const most = 8 << 20;

let since = 0;

/** Notes that bytes of a stream have passed through this thread, and now and then frees the memory that they had. */
export function notePassed(bytes: number): void {
  since += bytes;
  if (since < most) return;
  since = 0;
  collectYoung();
}
