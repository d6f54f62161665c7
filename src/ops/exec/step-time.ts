/** Holds a step to a time. */
import { DrydockError } from '../../errors/index.ts';

/** The time of one step. It begins with the step's first process, not with the wait for a place to run. */
export class StepTime {
  /** The limit in ms; undefined: there is none. */
  readonly limit: number | undefined;
  /** Fires when the build gives the step up, and when its time is up. */
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(limit: number | undefined, signal: AbortSignal) {
    this.limit = limit;
    this.signal = limit === undefined ? signal : AbortSignal.any([signal, this.#controller.signal]);
  }

  start(): void {
    if (this.limit === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#controller.abort(new Error('the time is up')), this.limit);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  get isUp(): boolean {
    return this.#controller.signal.aborted;
  }

  /** The error of a process whose time was up. */
  tooLong(args: readonly string[], logTail?: string[]): DrydockError {
    const command = args.join(' ');
    const seconds = (this.limit ?? 0) / 1000;
    return new DrydockError(
      `process ${JSON.stringify(command)} was stopped: it ran longer than a step may here (${seconds} s)`,
      {
        code: 'failed',
        hop: 'exec',
        logTail,
        details: { command },
        hint: 'The limit is `step-timeout` (DRYDOCK_STEP_TIMEOUT) of the one who runs the builder.',
      },
    );
  }
}
