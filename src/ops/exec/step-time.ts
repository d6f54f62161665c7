/** Holds a step to a time. */

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
    if (this.limit === undefined) return;
    this.#timer = setTimeout(() => this.#controller.abort(new Error('the time is up')), this.limit);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  get isUp(): boolean {
    return this.#controller.signal.aborted;
  }
}
