/** Gives memory back once a daemon has nothing to do. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { forgetProgram, limitArenas, trimMemory } from '../linux/index.ts';
import { restPool } from '../workers/index.ts';

/** How long a daemon is idle before it rests, in ms. */
const pauseMs = 3000;
/** How much longer it is idle before its threads end: starting them costs the next build some ms. */
const threadsPauses = 20;
/** How many arenas of memory the threads share. */
const arenas = 2;

/**
 * Has a daemon rest when it is idle: V8 collects garbage when it needs room, and keeps the room for as long as nothing
 * is asked of it. After a while more, its threads end too.
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
    this.#in(this.#pause, () => {
      this.#giveBack();
      this.#in(this.#pause * threadsPauses, () => {
        restPool();
        // The threads' memory is the process's again when they have ended.
        this.#in(this.#pause, () => this.#giveBack());
      });
    });
  }

  /** Lets go of the timer. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #in(ms: number, work: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#isIdle()) work();
    }, ms);
    this.#timer.unref();
  }

  #giveBack(): void {
    this.#collect();
    trimMemory();
    forgetProgram();
  }
}
