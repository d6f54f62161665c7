import { canceled, throwIfAborted } from '../errors/index.ts';
import { Waiting } from './waiting.ts';

/** Lets so many be at work at a time; the others wait in line, the longest waiting first. */
export class Limiter {
  #free: number;
  readonly #line = new Waiting<() => void>();

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Does the work once there is a place for it. Throws what it throws, and `canceled` when the signal fires before. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const end = await this.place(signal);
    try {
      return await work();
    } finally {
      end();
    }
  }

  /**
   * Waits for a place, and gives the function that gives it back, which may be called again. Throws `canceled` when the
   * signal fires first.
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
