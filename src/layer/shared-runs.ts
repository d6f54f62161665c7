import { canceled } from '../errors/error.ts';

interface Run<T> {
  result: Promise<T>;
  controller: AbortController;
  waiting: number;
}

/** Equal work asked for at the same time is done once; it is given up when all who asked have. */
export class SharedRuns<T> {
  readonly #runs = new Map<string, Run<T>>();

  async run(
    key: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (signal?.aborted) throw canceled(signal.reason);
    let run = this.#runs.get(key);
    if (run === undefined) {
      const controller = new AbortController();
      const started: Run<T> = { controller, waiting: 0, result: work(controller.signal) };
      run = started;
      this.#runs.set(key, started);
      const over = () => {
        if (this.#runs.get(key) === started) this.#runs.delete(key);
      };
      started.result.then(over, over);
    }
    const mine = run;
    mine.waiting++;
    if (signal === undefined) return mine.result;
    const gaveUp = Promise.withResolvers<never>();
    const onAbort = () => {
      if (--mine.waiting > 0) {
        gaveUp.reject(canceled(signal.reason));
        return;
      }
      // Nobody else waits: the work is told to stop, and we are done when it has cleaned up.
      if (this.#runs.get(key) === mine) this.#runs.delete(key);
      mine.controller.abort(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([mine.result, gaveUp.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
