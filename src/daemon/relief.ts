/** Gives memory back while a daemon has much to do. */
import { ProgramPages, trimMemoryAside } from '../linux/index.ts';

/** How long it has much to do before, and between two times, in ms. */
const pauseMs = 500;
/** A process that has fewer bytes in memory keeps them. */
const little = 128 << 20;

/**
 * Many builds at a time need much for moments: the contexts that are under way, the pages of Node that each kind of work
 * touches once. The allocator keeps the one and the kernel the other for as long as nobody else wants the memory. So a
 * daemon with many builds gives back what it does not use just now, twice a second. With few, that would cost more of
 * the builds' time than it is worth: what is given back is soon wanted again.
 */
export class Relief {
  readonly #hasMany: () => boolean;
  readonly #pause: number;
  readonly #least: number;
  #program: ProgramPages | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isGivingBack = false;

  /** `hasMany` tells whether many builds are under way; `pause` is in ms, `least` in bytes. */
  constructor(hasMany: () => boolean, { pause = pauseMs, least = little } = {}) {
    this.#hasMany = hasMany;
    this.#pause = pause;
    this.#least = least;
  }

  /** A build has begun. */
  begin(): void {
    if (this.#timer !== undefined || !this.#hasMany()) return;
    const again = () => {
      if (!this.#hasMany()) this.stop();
      // Memory that cannot be given back is kept.
      else this.#giveBack().catch(() => {});
    };
    this.#timer = setInterval(again, this.#pause).unref();
  }

  /** Lets go of the timer. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #giveBack(): Promise<void> {
    if (this.#isGivingBack || process.memoryUsage.rss() < this.#least) return;
    this.#isGivingBack = true;
    try {
      this.#program ??= await ProgramPages.find();
      this.#program.forget();
      await trimMemoryAside();
    } finally {
      this.#isGivingBack = false;
    }
  }
}
