/** Gives memory back once a daemon has nothing to do. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { limitArenas, trimMemory } from '../linux/index.ts';

/** How long a daemon is idle before it rests, in ms. */
const pauseMs = 3000;
/** How many arenas of memory the threads share. */
const arenas = 2;

/**
 * Has a daemon rest when it is idle: V8 collects garbage when it needs room, and keeps the room for as long as nothing
 * is asked of it.
 */
export class Rest {
  readonly #isIdle: () => boolean;
  readonly #pause: number;
  readonly #collect: () => void;
  #timer: NodeJS.Timeout | undefined;

  /** `isIdle` tells whether nothing is under way; `pause`: how long it is to be so before, in ms. */
  constructor(isIdle: () => boolean, pause = pauseMs) {
    this.#isIdle = isIdle;
    this.#pause = pause;
    limitArenas(arenas);
    setFlagsFromString('--expose-gc');
    this.#collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }

  /** Has the daemon rest in a while, if it is idle then. */
  soon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!this.#isIdle()) return;
      this.#collect();
      trimMemory();
    }, this.#pause);
    this.#timer.unref();
  }

  /** Lets go of the timer. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}
