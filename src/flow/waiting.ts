/** First in, first out, with a way out of the middle: each in constant time, however many wait. */
export class Waiting<T extends object> {
  #list: (T | undefined)[] = [];
  #head = 0;
  readonly #inside = new Set<T>();

  push(item: T): void {
    this.#list.push(item);
    this.#inside.add(item);
  }

  /** Whoever waits longest; undefined when nobody does. */
  shift(): T | undefined {
    while (this.#head < this.#list.length) {
      const item = this.#list[this.#head];
      this.#list[this.#head++] = undefined;
      if (this.#head > 1024 && this.#head * 2 > this.#list.length) {
        this.#list = this.#list.slice(this.#head);
        this.#head = 0;
      }
      if (item !== undefined && this.#inside.delete(item)) return item;
    }
    return undefined;
  }

  /** False when it does not wait (any more). */
  remove(item: T): boolean {
    return this.#inside.delete(item);
  }
}
