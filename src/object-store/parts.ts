/** Large objects, sent in parts. */
import { inParallel } from '../flow/index.ts';

export interface Part {
  /** From 1 on. */
  number: number;
  start: number;
  /** The byte after the last one. */
  end: number;
}

/**
 * Cuts `size` bytes into equal parts (the last one may be shorter) of at least `least` bytes, `most` parts at most. The
 * same size always gives the same parts, so that an upload can be gone on with.
 */
export function partsOf(size: number, least: number, most: number): Part[] {
  const length = Math.max(least, Math.ceil(size / most));
  return Array.from({ length: Math.ceil(size / length) }, (_, i) => ({
    number: i + 1,
    start: i * length,
    end: Math.min(size, (i + 1) * length),
  }));
}

/** How many parts of one object are sent at one time. */
const atOnce = 4;

/** Sends the parts that are not there yet, some at once, and tells the bytes that are there. */
export async function sendParts<T>(
  parts: readonly Part[],
  there: ReadonlyMap<number, T>,
  send: (part: Part) => Promise<T>,
  onProgress: ((sent: number) => void) | undefined,
): Promise<T[]> {
  let sent = 0;
  return inParallel(
    parts,
    async (part) => {
      const known = there.get(part.number);
      const result = known ?? (await send(part));
      sent += part.end - part.start;
      onProgress?.(sent);
      return result;
    },
    atOnce,
  );
}
