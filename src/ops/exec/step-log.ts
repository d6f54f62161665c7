/** Hands a step's output to progress, up to a limit, and keeps its last lines for an error. */
import { setTimeout } from 'node:timers/promises';
import type { VertexProgress } from '../../progress/index.ts';

const tailLines = 50;
const tailBytes = 64 << 10;
/** More chunks than these are joined. */
const mostChunks = 512;
/** A step that writes more than this without a rest waits for so long, in bytes and ms: others have their turns. */
const burst = 4 << 20;
const restMs = 30;

/** How much of a step's output is shown. */
export interface LogLimits {
  /** In bytes; default: all. */
  size?: number;
  /** In bytes for each second since the step's first output, the first one included; default: all. */
  speed?: number;
}

/**
 * The log of one step. Each chunk of output is written to it while the step runs; `tail` gives the end for an error.
 */
export class StepLog {
  readonly #progress: VertexProgress;
  readonly #size: number;
  readonly #speed: number;
  #shown = 0;
  #begun: number | undefined;
  /** What was told last: that output is left out from here on, or for as long as it comes too fast. */
  #clipped: 'all' | 'fast' | undefined;
  /** The last chunks, with `tailBytes` or a little more. */
  readonly #last: Buffer[] = [];
  #kept = 0;
  /** What was shown since the last rest. */
  #unrested = 0;

  constructor(progress: VertexProgress, { size = Infinity, speed = Infinity }: LogLimits = {}) {
    this.#progress = progress;
    this.#size = size;
    this.#speed = speed;
  }

  /** Takes a chunk. A promise: more is taken once it resolves; the step waits for as long. */
  write(stream: 1 | 2, data: Buffer): void | Promise<void> {
    this.#keep(data);
    if (this.#clipped === 'all') return;
    const room = Math.min(this.#size, this.#allowed()) - this.#shown;
    const shown = data.subarray(0, Math.max(0, room));
    if (shown.length > 0) {
      this.#progress.log(stream, shown);
      this.#shown += shown.length;
      this.#clipped = undefined;
    }
    if (shown.length === data.length) return this.#rest(shown.length);
    if (this.#shown >= this.#size) this.#clip('all', `log limit ${formatBytes(this.#size)}`);
    else if (this.#clipped === undefined) this.#clip('fast', `log limit ${formatBytes(this.#speed)}/s`);
  }

  #rest(shown: number): void | Promise<void> {
    this.#unrested += shown;
    if (this.#unrested < burst) return;
    this.#unrested = 0;
    return setTimeout(restMs);
  }

  #clip(what: 'all' | 'fast', limit: string): void {
    this.#clipped = what;
    this.#progress.log(2, `\n[output clipped, ${limit} reached]\n`);
  }

  /** How many bytes may have been shown by now. */
  #allowed(): number {
    if (this.#speed === Infinity) return Infinity;
    const now = performance.now();
    this.#begun ??= now;
    return this.#speed * (1 + (now - this.#begun) / 1000);
  }

  #keep(data: Buffer): void {
    // A copy: the chunk may be a small part of a large buffer.
    this.#last.push(Buffer.from(data.subarray(-tailBytes)));
    this.#kept += Math.min(data.length, tailBytes);
    if (this.#last.length === mostChunks) this.#last.splice(0, mostChunks, Buffer.concat(this.#last));
    for (let first = this.#last[0]; first !== undefined; first = this.#last[0]) {
      if (this.#kept - first.length < tailBytes) break;
      this.#kept -= first.length;
      this.#last.shift();
    }
  }

  /** The last lines. */
  tail(): string[] {
    const lines = Buffer.concat(this.#last)
      .subarray(-tailBytes)
      .toString('utf8')
      .replace(/\n$/, '')
      .split('\n');
    return (lines.length === 1 && lines[0] === '' ? [] : lines).slice(-tailLines);
  }
}

/** A size in the words of BuildKit's message. */
function formatBytes(bytes: number): string {
  for (const [unit, name] of [
    [1 << 20, 'MiB'],
    [1 << 10, 'KiB'],
  ] as const) {
    if (bytes >= unit) return `${Number((bytes / unit).toFixed(1))}${name}`;
  }
  return `${bytes}B`;
}
