/** Long work on the main thread, in turns with everything else that the process does. */
import { type Stopping, throwIfAborted } from '../errors/index.ts';

/** How long work may go on before it lets others, ms: several such, and what cannot be cut, stay below 50. */
const turn = 10;

let began: number | undefined;
const waiting: (() => void)[] = [];
let next = 0;

/** Whether the work of this turn of the event loop has taken long enough; then `await nextTurn()`. */
export function isDue(): boolean {
  const now = performance.now();
  if (began === undefined) {
    began = now;
    // The first one comes in this round of the event loop, before others were looked after.
    setImmediate(() => setImmediate(() => void endTurn()));
    return false;
  }
  return now - began > turn;
}

/** Resolves when others had their turn, in order of those who wait. */
export function nextTurn(): Promise<void> {
  isDue();
  return new Promise((resolve) => {
    waiting.push(resolve);
  });
}

/** Begins a turn, and lets those go on who waited for it, one after the other, until it is due. */
async function endTurn(): Promise<void> {
  began = undefined;
  while (next < waiting.length && !isDue()) {
    waiting[next++]?.();
    // What goes on has come to its next stop before this has.
    await undefined;
  }
  if (next < waiting.length) return;
  waiting.length = 0;
  next = 0;
}

/** Does work that says by `yield` where it may be cut. Throws `canceled` when the signal has fired. */
export async function inTurns<T>(work: Generator<void, T>, signal?: Stopping): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (!isDue()) continue;
    await nextTurn();
    try {
      throwIfAborted(signal);
    } catch (err) {
      // It may hold something open.
      work.return(undefined as T);
      throw err;
    }
  }
}

/** Does such work at once. */
export function atOnce<T>(work: Generator<void, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** Items sorted at once, and merged at once. */
const together = 2000;

/** Sorts as work that may be cut. */
export function* sorted<T>(items: readonly T[], compare: (a: T, b: T) => number): Generator<void, T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < items.length; at += together) {
    runs.push(items.slice(at, at + together).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const longer: T[][] = [];
    for (let i = 0; i < runs.length; i += 2)
      longer.push(yield* merge(runs[i] ?? [], runs[i + 1] ?? [], compare));
    runs = longer;
  }
  return runs[0] ?? [];
}

function* merge<T>(a: readonly T[], b: readonly T[], compare: (a: T, b: T) => number): Generator<void, T[]> {
  const merged: T[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const takesA = j >= b.length || (i < a.length && compare(a[i] as T, b[j] as T) <= 0);
    merged.push((takesA ? a[i++] : b[j++]) as T);
    if (merged.length % together === 0) yield;
  }
  return merged;
}
