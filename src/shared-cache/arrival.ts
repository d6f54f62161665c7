/** Waits for layers that another builder is writing. */
import { setTimeout as delay } from 'node:timers/promises';
import { canceled } from '../errors/index.ts';
import { beatEvery, type Coming, type Entry } from './entry.ts';

/** How long layers are waited for, ms, by our own clock. */
const waits = {
  /** Nothing may be heard of the writer for so long. */
  silence: 4 * beatEvery,
  /** The least time, however short the step is. */
  least: 3000,
};

/**
 * The entry once its layers are there; undefined when they are not waited for any more: nothing was heard of the writer
 * for a while, the entry is gone, or it has taken twice as long as making the step would (which takes the processor that
 * waiting leaves to others, and the layers of steps below).
 *
 * `look`: what is filed now. Rejects with `canceled`, and with what `look` fails with.
 */
export async function arrival(
  coming: Coming,
  look: () => Promise<Entry | undefined>,
  signal: AbortSignal,
  { silence, least } = waits,
): Promise<Entry | undefined> {
  const began = performance.now();
  const until = began + Math.max(least, 2 * coming.took);
  let heard = began;
  let last = coming;
  for (let pause = 50; ; pause = Math.min(500, pause * 1.5)) {
    const entry = await look();
    if (entry === undefined || entry.coming === undefined) return entry;
    const now = performance.now();
    if (entry.coming.writer !== last.writer || entry.coming.beat !== last.beat) heard = now;
    last = entry.coming;
    if (now > until || now - heard > silence) return undefined;
    try {
      await delay(pause, undefined, { signal });
    } catch {
      throw canceled(signal.reason);
    }
  }
}
