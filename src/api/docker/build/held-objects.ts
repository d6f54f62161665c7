/** Holds the objects of a stream back until it is known whether anybody should see them. */
import type { ObjectSink } from '../http/json-stream.ts';

/** The most bytes that are held. Of more, the oldest objects go. */
const most = 2 << 20;

export class HeldObjects implements ObjectSink {
  readonly isBlocked = false;
  readonly #held: { value: object; size: number }[] = [];
  #size = 0;

  start(): void {}

  async drained(): Promise<void> {}

  write(value: object): void {
    const size = JSON.stringify(value).length;
    this.#held.push({ value, size });
    this.#size += size;
    while (this.#size > most && this.#held.length > 1) this.#size -= this.#held.shift()?.size ?? 0;
  }

  /** Sends the held objects. */
  release(to: ObjectSink): void {
    for (const { value } of this.#held.splice(0)) to.write(value);
    this.#size = 0;
  }
}
