/** The names and the last lines of a daemon's steps, for the failure of one of them. */
import type { DrydockError } from '../../errors/index.ts';
import { forwarding, type LogEvent, type ProgressSink, type VertexEvent } from '../../progress/index.ts';

/** As many lines as a build of this process shows again. */
const mostLines = 50;
const mostBytes = 64 << 10;
/** How long a failed step's end is waited for: the failure and the progress come on ways of their own. In ms. */
const patience = 1000;

interface Step {
  name: string;
  hasFailed: boolean;
  chunks: Buffer[];
  bytes: number;
}

/** Notes what a sink is told of steps; those that ended well are forgotten. */
export class StepTails {
  readonly sink: ProgressSink;
  readonly #steps = new Map<string, Step>();
  readonly #waiting = new Map<string, () => void>();

  constructor(below: ProgressSink) {
    this.sink = {
      ...forwarding(below),
      vertex: (event) => {
        this.#note(event);
        below.vertex(event);
      },
      log: (event) => {
        if (event.explains !== true) this.#keep(event);
        below.log(event);
      },
    };
  }

  #note({ digest, name, completed, error }: VertexEvent): void {
    if (completed !== undefined && error === undefined) {
      this.#steps.delete(digest);
      return;
    }
    const step = this.#steps.get(digest) ?? { name, hasFailed: false, chunks: [], bytes: 0 };
    step.hasFailed ||= error !== undefined;
    this.#steps.set(digest, step);
    if (step.hasFailed) this.#waiting.get(digest)?.();
  }

  #keep({ vertex, data }: LogEvent): void {
    const step = this.#steps.get(vertex);
    if (step === undefined) return;
    step.chunks.push(data);
    step.bytes += data.length;
    while (step.chunks.length > 1 && step.bytes - (step.chunks[0] as Buffer).length >= mostBytes) {
      step.bytes -= (step.chunks.shift() as Buffer).length;
    }
  }

  /** Adds the failed step's name to a failure, and of a process its last lines. */
  async complete(failure: DrydockError): Promise<DrydockError> {
    const { vertex } = failure;
    if (vertex === undefined) return failure;
    if (this.#steps.get(vertex)?.hasFailed !== true) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, patience);
        this.#waiting.set(vertex, () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    const step = this.#steps.get(vertex);
    if (step === undefined) return failure;
    failure.step ??= step.name;
    if (failure.exitCode !== undefined) failure.logTail ??= linesOf(step);
    return failure;
  }
}

function linesOf({ chunks }: Step): string[] {
  const lines = Buffer.concat(chunks).subarray(-mostBytes).toString('utf8').replace(/\n$/, '').split('\n');
  return (lines.length === 1 && lines[0] === '' ? [] : lines).slice(-mostLines);
}
