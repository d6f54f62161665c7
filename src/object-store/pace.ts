import { pause } from '../flow/index.ts';

/**
 * Holds requests back after a store has asked for fewer: their rate is cut with each refusal and grows again with each
 * answer, until nothing is held back any more.
 */
export class Pace {
  /** Requests a second; infinite while nothing was refused. */
  #rate = Number.POSITIVE_INFINITY;
  /** When the next request may go, in ms since the epoch. */
  #next = 0;
  #sent = 0;
  #since = Date.now();

  /** Waits for the turn of a request. Throws `canceled`. */
  async turn(signal?: AbortSignal): Promise<void> {
    this.#sent++;
    if (this.#rate === Number.POSITIVE_INFINITY) return;
    const now = Date.now();
    const at = Math.max(now, this.#next);
    this.#next = at + 1000 / this.#rate;
    if (at > now) await pause(at - now, signal);
  }

  slowDown(): void {
    const seconds = Math.max(0.1, (Date.now() - this.#since) / 1000);
    const now = this.#rate === Number.POSITIVE_INFINITY ? this.#sent / seconds : this.#rate;
    this.#rate = Math.max(0.5, now * 0.7);
  }

  wentWell(): void {
    if (this.#rate === Number.POSITIVE_INFINITY) return;
    this.#rate += Math.max(0.2, this.#rate * 0.05);
    if (this.#rate < 500) return;
    this.#rate = Number.POSITIVE_INFINITY;
    this.#sent = 0;
    this.#since = Date.now();
  }
}
