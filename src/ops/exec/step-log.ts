/** Hands a step's output to progress, up to a limit, and keeps its last lines for an error. */
import type { VertexProgress } from '../../progress/index.ts';

/** The most bytes of output that are shown of a step, as in BuildKit. */
const limit = 2 << 20;
const tailLines = 50;
const tailBytes = 64 << 10;

/**
 * The log of one step. Each chunk of output is written to it while the step runs; `tail` gives the end for an error.
 */
export class StepLog {
  readonly #progress: VertexProgress;
  #shown = 0;
  #clipped = false;
  #tail = Buffer.alloc(0);

  constructor(progress: VertexProgress) {
    this.#progress = progress;
  }

  write(stream: 1 | 2, data: Buffer): void {
    const last = data.subarray(-tailBytes);
    this.#tail = Buffer.concat([this.#tail, last]);
    if (this.#tail.length > 2 * tailBytes) this.#tail = Buffer.from(this.#tail.subarray(-tailBytes));
    if (this.#clipped) return;
    const room = limit - this.#shown;
    if (room > 0) this.#progress.log(stream, data.subarray(0, room));
    this.#shown += data.length;
    if (this.#shown <= limit) return;
    this.#clipped = true;
    this.#progress.log(2, '\n[output clipped, log limit 2MiB reached]\n');
  }

  /** The last lines. */
  tail(): string[] {
    const lines = this.#tail.subarray(-tailBytes).toString('utf8').replace(/\n$/, '').split('\n');
    return (lines.length === 1 && lines[0] === '' ? [] : lines).slice(-tailLines);
  }
}
