/** A first-in, first-out queue from whose middle items can be removed; each operation takes constant time. */
export class Waiting<T extends object> {
  #list: (T | undefined)[] = [];
  #head = 0;
  readonly #inside = new Set<T>();

  /** How many items wait. */
  get size(): number {
    return this.#inside.size;
  }

  push(item: T): void {
    this.#list.push(item);
    this.#inside.add(item);
  }

  /** Removes and returns the item that waits longest; undefined when the queue is empty. */
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

  /** Removes an item; false when it is not waiting (any more). */
  remove(item: T): boolean {
    return this.#inside.delete(item);
  }
}
