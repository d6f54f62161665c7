/** Runs long work on the main thread, in turns with everything else that the process does. */
import { type Stopping, throwIfAborted } from '../errors/index.ts';

/**
 * How long work may run before it lets others run, ms. Several such turns, and work that cannot be divided, stay below
 * 50.
 */
const turn = 10;

let began: number | undefined;
const waiting: (() => void)[] = [];
let next = 0;

/**
 * Whether the work of this turn of the event loop has run long enough; then `await nextTurn()`.
 *
 *     for (const item of items) {
 *       handle(item);
 *       if (isDue()) await nextTurn();
 *     }
 */
export function isDue(): boolean {
  const now = performance.now();
  if (began === undefined) {
    began = now;
    // The first callback comes in this round of the event loop, before other work had a chance.
    setImmediate(() => setImmediate(() => void endTurn()));
    return false;
  }
  return now - began > turn;
}

/** Resolves when others had their turn; callers continue in the order in which they began to wait. */
export function nextTurn(): Promise<void> {
  isDue();
  return new Promise((resolve) => {
    waiting.push(resolve);
  });
}

/** Begins a turn and lets the callers who waited for it continue, one after the other, until it is due. */
async function endTurn(): Promise<void> {
  began = undefined;
  while (next < waiting.length && !isDue()) {
    waiting[next++]?.();
    // The caller that continues has come to its next stop before this function does.
    await undefined;
  }
  if (next < waiting.length) return;
  waiting.length = 0;
  next = 0;
}

/** Runs work that marks by `yield` where it may be interrupted. Throws `canceled` when the signal has fired. */
export async function inTurns<T>(work: Generator<void, T>, signal?: Stopping): Promise<T> {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (!isDue()) continue;
    await nextTurn();
    try {
      throwIfAborted(signal);
    } catch (err) {
      // The work may have something open that it must close.
      work.return(undefined as T);
      throw err;
    }
  }
}

/** Runs such work without interruption. */
export function atOnce<T>(work: Generator<void, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** The number of items sorted, or merged, without interruption. */
const together = 2000;

/** Sorts items and yields while it works. */
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
