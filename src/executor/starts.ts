/**
 * Few containers start at once. A start is a burst of processes; fifty of them at once keep each other from going on,
 * and this process with them, which waits for each new child. Containers that run do not count.
 */
import { availableParallelism } from 'node:os';
import { canceled } from '../errors/error.ts';

export class Starts {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce = 2 * availableParallelism()) {
    this.#free = atOnce;
  }

  /** Waits for a turn; what it gives ends the turn, and may be called again. Throws `canceled`. */
  async turn(signal: AbortSignal): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      // Not in a row: others have their turns of the event loop in between.
      else setImmediate(next);
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        const at = this.#waiting.indexOf(go);
        // Its turn has come already: it will find the signal itself.
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        reject(canceled(signal.reason));
      };
      this.#waiting.push(go);
      signal.addEventListener('abort', leave, { once: true });
    });
  }
}
