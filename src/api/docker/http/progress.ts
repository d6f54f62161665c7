/** Transfers as docker's clients draw them: status objects, with a bar for those that show text as it comes. */

import type { JsonStream } from './json-stream.ts';
import { formatSize } from './sizes.ts';

/** `[====>      ]  1.2MB/3.4MB`, as in docker's own messages. */
function progressBar(current: number, total: number): string {
  if (total <= 0 || current > total) return current <= 0 ? '' : formatSize(current).padStart(8);
  const filled = Math.floor((Math.min(100, (current / total) * 100) / 100) * 50);
  const bar = `[${'='.repeat(filled)}>${' '.repeat(Math.max(0, 50 - filled))}]`;
  return `${bar} ${formatSize(current).padStart(8)}/${formatSize(total)}`;
}

/**
 * The object that tells of a transfer; `total` is 0 when it is not known.
 *
 *     progressObject('Downloading', '3f4ca61aafcd', 1_200_000, 3_400_000)
 */
export function progressObject(status: string, id: string, current: number, total: number): object {
  const detail = total > 0 ? { current, total } : { current };
  return { status, progressDetail: detail, progress: progressBar(current, total), id };
}

/** The words for a transfer: `begin` once, `moving` now and then, `end` once. */
interface TransferWords {
  begin?: string;
  moving: string;
  /** The last word, or a function that makes it for a digest. */
  end: string | ((digest: string) => string);
}

/** How often a transfer is reported, in ms. */
const every = 100;

/**
 * A `report` function that writes the transfers of blobs to a stream, named by the first twelve digits of their
 * digests. While the client is slow, only their ends are written.
 */
export function transferReport(stream: JsonStream, words: TransferWords) {
  const known = new Map<string, { at: number; done: boolean }>();
  return (id: string, { current, total, done }: { current: number; total: number; done?: boolean }): void => {
    const short = shortId(id);
    let state = known.get(id);
    if (state === undefined) {
      state = { at: 0, done: false };
      known.set(id, state);
      if (words.begin !== undefined) stream.write({ status: words.begin, progressDetail: {}, id: short });
    }
    if (state.done) return;
    if (done) {
      state.done = true;
      const status = typeof words.end === 'string' ? words.end : words.end(id);
      stream.write({ status, progressDetail: {}, id: short });
      return;
    }
    const now = Date.now();
    if (now - state.at < every || stream.isBlocked || current === 0) return;
    state.at = now;
    stream.write(progressObject(words.moving, short, current, total));
  };
}

/** Twelve digits of a digest. */
export function shortId(id: string): string {
  return id.replace(/^.*sha256:/, '').slice(0, 12);
}
