/** Gives memory back while a daemon works. */
import { ProgramPages, trimMemoryAside } from '../linux/index.ts';

/** How long it works before, and between two times, in ms. */
const pauseMs = 500;
/** A process that has fewer bytes in memory keeps them. */
const little = 128 << 20;

/**
 * Many builds at a time need much for moments: the contexts that are under way, the pages of Node that each kind of work
 * touches once. The allocator keeps the one and the kernel the other for as long as nobody else wants the memory. So a
 * daemon that works gives back what it does not use just now, once a second.
 */
export class Relief {
  readonly #isIdle: () => boolean;
  readonly #pause: number;
  readonly #least: number;
  #program: ProgramPages | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isTrimming = false;

  /** `isIdle` tells whether nothing is under way; `pause` is in ms, `least` in bytes. */
  constructor(isIdle: () => boolean, { pause = pauseMs, least = little } = {}) {
    this.#isIdle = isIdle;
    this.#pause = pause;
    this.#least = least;
  }

  /** Work has begun. */
  begin(): void {
    this.#timer ??= setInterval(() => (this.#isIdle() ? this.stop() : this.#giveBack()), this.#pause).unref();
  }

  /** Lets go of the timer. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #giveBack(): void {
    if (this.#isTrimming || process.memoryUsage.rss() < this.#least) return;
    this.#program ??= new ProgramPages();
    this.#program.forget();
    this.#isTrimming = true;
    void trimMemoryAside().then(() => {
      this.#isTrimming = false;
    });
  }
}
