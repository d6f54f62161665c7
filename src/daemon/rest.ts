/** Gives memory back once a daemon has nothing to do. */
import { flushCompileCache } from 'node:module';
import { forgetProgram, limitArenas, trimMemory } from '../linux/index.ts';
import { collectAll, restPool } from '../workers/index.ts';

/** How long a daemon is idle before it rests, in ms. */
const pauseMs = 3000;
/** How much longer it is idle before its threads end: starting them costs the next build some ms. */
const threadsPauses = 20;
/** The share of a pause in which threads end or give memory back. */
const threadsShare = 10;
/** How many threads stay until then: one build alone seldom needs more. */
const warmThreads = 2;
/** How many arenas of memory the threads share. */
const arenas = 2;

/**
 * Has a daemon rest when it is idle: V8 collects garbage when it needs room, and keeps the room for as long as nothing
 * is asked of it. After a while more, its threads end too.
 */
export class Rest {
  readonly #isIdle: () => boolean;
  readonly #pause: number;
  #timer: NodeJS.Timeout | undefined;

  /** `isIdle` tells whether nothing is under way; `pause`: how long it is to be so before, in ms. */
  constructor(isIdle: () => boolean, pause = pauseMs) {
    this.#isIdle = isIdle;
    this.#pause = pause;
    limitArenas(arenas);
  }

  /** Has the daemon rest in a while, if it is idle then. */
  soon(): void {
    this.#in(this.#pause, () => {
      this.#rest(warmThreads, () => {
        this.#in(this.#pause * threadsPauses, () => this.#rest(0));
      });
    });
  }

  /** Leaves so many threads, and gives back what they, the others and the main thread had. */
  #rest(threads: number, then?: () => void): void {
    restPool(threads);
    collectAll();
    // A thread's memory is the process's again when the thread is done.
    this.#in(this.#pause / threadsShare, () => {
      // Node holds the compiled code of each file that it has loaded until that is on the disk.
      flushCompileCache();
      trimMemory();
      forgetProgram();
      then?.();
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
}
