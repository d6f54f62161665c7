import { canceled, throwIfAborted } from '../errors/index.ts';
import { Waiting } from './waiting.ts';

/** Limits the number of jobs that run at once; the others wait in line, first come, first served. */
export class Limiter {
  #free: number;
  readonly #line = new Waiting<() => void>();

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /**
   * Runs the work when there is a free place. Throws the work's errors, and `canceled` when the signal fires before.
   */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const end = await this.place(signal);
    try {
      return await work();
    } finally {
      end();
    }
  }

  /**
   * Waits for a free place and returns a function that frees it again (calling it twice is no error). Throws `canceled`
   * when the signal fires first.
   */
  async place(signal?: AbortSignal): Promise<() => void> {
    throwIfAborted(signal);
    if (this.#free > 0) this.#free--;
    else await this.#wait(signal);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      const next = this.#line.shift();
      if (next === undefined) this.#free++;
      else next();
    };
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#line.remove(go);
        reject(canceled(signal?.reason));
      };
      this.#line.push(go);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }
}
