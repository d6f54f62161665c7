/** The calls in a row, each soon after the one before, from which on they are taken together. */
const inARow = 8;

/**
 * Says when to pass on what comes in small pieces. A piece by itself is passed on at the end of its turn of the event
 * loop; of pieces that come thick and fast, those of some ms go together: each passing on costs more than a piece.
 *
 *     if (pieces.push(piece) === 1) pace.next(() => passOn(pieces.splice(0)));
 */
export class Pace {
  readonly #gapMs: number;
  /** When something was passed on last, on performance.now()'s clock. */
  #last = 0;
  #row = 0;

  /** `gapMs`: the time between two of many, at least. */
  constructor(gapMs: number) {
    this.#gapMs = gapMs;
  }

  /** Calls `go` once: at the end of this turn, or a little later when there were many calls just now. */
  next(go: () => void): void {
    const since = performance.now() - this.#last;
    this.#row = since > 2 * this.#gapMs ? 0 : this.#row + 1;
    const run = () => {
      this.#last = performance.now();
      go();
    };
    if (this.#row < inARow || since >= this.#gapMs) setImmediate(run);
    else setTimeout(run, Math.ceil(this.#gapMs - since));
  }
}
