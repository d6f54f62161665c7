/** Takes samples of something while it goes on. */

/** The time between two samples at first, in ms, as in BuildKit. */
const firstInterval = 2000;

/**
 * Samples that are taken at an interval. There are never more than twice as many as `most`: when there are, every second
 * one is dropped, and the interval doubles.
 */
export class Sampling<T> {
  readonly #take: () => T;
  readonly #most: number;
  #samples: T[] = [];
  #interval = firstInterval;
  #timer: NodeJS.Timeout | undefined;

  constructor(take: () => T, most: number) {
    this.#take = take;
    this.#most = most;
    this.#wait();
  }

  /** Takes the last sample, and returns all of them. */
  end(): T[] {
    clearTimeout(this.#timer);
    this.#samples.push(this.#take());
    return this.#samples.splice(0);
  }

  /** Takes no more samples; nobody wants them. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #wait(): void {
    this.#timer = setTimeout(() => {
      this.#samples.push(this.#take());
      if (this.#samples.length >= 2 * this.#most) {
        this.#samples = this.#samples.filter((_, i) => i % 2 === 1);
        this.#interval *= 2;
      }
      this.#wait();
    }, this.#interval).unref();
  }
}
