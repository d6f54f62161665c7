/** Hands a step's output to progress, up to a limit, and keeps its last lines for an error. */
import type { VertexProgress } from '../../progress/index.ts';

/** The most bytes of output that are shown of a step, as in BuildKit. */
const limit = 2 << 20;
const tailLines = 50;
const tailBytes = 64 << 10;
/** More chunks than these are joined. */
const mostChunks = 512;

/**
 * The log of one step. Each chunk of output is written to it while the step runs; `tail` gives the end for an error.
 */
export class StepLog {
  readonly #progress: VertexProgress;
  #shown = 0;
  #clipped = false;
  /** The last chunks, with `tailBytes` or a little more. */
  readonly #last: Buffer[] = [];
  #kept = 0;

  constructor(progress: VertexProgress) {
    this.#progress = progress;
  }

  write(stream: 1 | 2, data: Buffer): void {
    this.#keep(data);
    if (this.#clipped) return;
    const room = limit - this.#shown;
    if (room > 0) this.#progress.log(stream, data.subarray(0, room));
    this.#shown += data.length;
    if (this.#shown <= limit) return;
    this.#clipped = true;
    this.#progress.log(2, '\n[output clipped, log limit 2MiB reached]\n');
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
