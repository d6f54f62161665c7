/** Several that wait for each other, such as the writers of one result. */
export class Meeting {
  readonly #all = Promise.withResolvers<boolean>();
  #missing: number;
  #areWell = true;

  /** `count`: how many are to come. */
  constructor(count: number) {
    this.#missing = count;
  }

  /** Comes. Resolves when all have come, with whether all came well. */
  come(isWell: boolean): Promise<boolean> {
    this.#areWell &&= isWell;
    this.#missing--;
    if (this.#missing === 0) this.#all.resolve(this.#areWell);
    return this.#all.promise;
  }
}
