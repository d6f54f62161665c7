/**
 * Regular expressions as programs. All possibilities of a program run at once, one character after the other, so no
 * expression and no text cost more than (instructions × characters) steps. Pure. This is Pike's machine; see
 * https://swtch.com/~rsc/regexp/regexp2.html.
 */

/** A set of characters, by code point. */
export type CharSet = (code: number) => boolean;

/**
 * A condition on the place between two characters, given the code points before and after it (-1 at an end of the
 * text).
 */
export type Assertion = (before: number, after: number) => boolean;

/** The beginning of the text. */
export const atTextStart: Assertion = (before) => before === -1;

/** An instruction. It is followed by the next one unless it names another; places are indexes into the program. */
export type RegexInstruction =
  | { readonly op: 'char'; readonly code: number }
  | { readonly op: 'set'; readonly has: CharSet }
  /** Continues both ways; the first is preferred. */
  | { readonly op: 'split'; first: number; second: number }
  | { readonly op: 'jump'; to: number }
  /** Saves the current place as the value `slot`. */
  | { readonly op: 'save'; readonly slot: number }
  | { readonly op: 'assert'; readonly holds: Assertion }
  | { readonly op: 'match' };

/** Start and end of the part that each group matched; -1 for a group that took no part. Group 0 is the whole. */
type Places = readonly number[];

/** Thrown by a search that would take more steps than it may. */
export class StepsSpent extends Error {}

/**
 * The most characters of the text with which matches begin, where they may begin anywhere. Looking for a longer text
 * may take as many steps as it has characters, at each place.
 */
const maxPrefix = 32;

/** A program, ready to run on one text after another. */
export class Program {
  readonly #code: readonly RegexInstruction[];
  /** For each instruction, the last round in which it was put on a list. */
  readonly #seen: Uint32Array;
  /** Whether a match can only begin where the text does. */
  readonly #anchored: boolean;
  /** A text with which each match begins. */
  readonly #prefix: string;
  #round = 0;
  /** The steps that the last run took. */
  steps = 0;
  /** The instructions that wait for the next character, and their saved places. */
  #now: number[] = [];
  #next: number[] = [];
  #nowSaved: Places[] = [];
  #nextSaved: Places[] = [];

  constructor(code: readonly RegexInstruction[]) {
    this.#code = code;
    this.#seen = new Uint32Array(code.length);
    const begin = code.filter(({ op }) => op !== 'save');
    const [first] = begin;
    this.#anchored = first?.op === 'assert' && first.holds === atTextStart;
    let prefix = '';
    for (let at = this.#anchored ? 1 : 0, one = begin[at]; one?.op === 'char'; one = begin[++at]) {
      prefix += String.fromCodePoint(one.code);
    }
    this.#prefix = this.#anchored ? prefix : [...prefix].slice(0, maxPrefix).join('');
  }

  /** Whether a part of the text matches. Throws StepsSpent when that is not known after `most` steps. */
  isIn(text: string, most: number): boolean {
    return this.#run(text, undefined, most) !== undefined;
  }

  /**
   * The leftmost part that matches, as a backtracking matcher would find it. `slots`: twice the number of groups.
   * Throws as `isIn` does.
   */
  find(text: string, slots: number, most: number): Places | undefined {
    return this.#run(text, new Array<number>(slots).fill(-1), most);
  }

  #run(text: string, empty: Places | undefined, most: number): Places | undefined {
    let found: Places | undefined;
    let before = -1;
    // Looking for the prefix is some four times as fast as a step, in the worst case.
    this.steps = this.#anchored ? 1 : 1 + (text.length >> 2);
    if (this.#anchored ? !text.startsWith(this.#prefix) : !text.includes(this.#prefix)) return undefined;
    this.#now.length = 0;
    this.#nowSaved.length = 0;
    this.#turn();
    for (let at = 0; ; ) {
      const after = at < text.length ? (text.codePointAt(at) as number) : -1;
      // A match that began earlier is preferred to one that would begin here.
      if (found === undefined && (at === 0 || !this.#anchored)) {
        this.#add(0, at, before, after, this.#now, this.#nowSaved, empty);
      }
      if (this.#now.length === 0 && (found !== undefined || this.#anchored)) return found;
      if (this.steps > most) throw new StepsSpent();
      const width = after > 0xffff ? 2 : 1;
      const behind = at + width < text.length ? (text.codePointAt(at + width) as number) : -1;
      this.#turn();
      this.steps += this.#now.length + 1;
      for (let i = 0; i < this.#now.length; i++) {
        const pc = this.#now[i] as number;
        const one = this.#code[pc] as RegexInstruction;
        if (one.op === 'match') {
          found = this.#nowSaved[i] ?? [];
          if (empty === undefined) return found;
          break;
        }
        if (after === -1) continue;
        if (one.op === 'char' ? one.code !== after : one.op !== 'set' || !one.has(after)) continue;
        this.#add(pc + 1, at + width, after, behind, this.#next, this.#nextSaved, this.#nowSaved[i]);
      }
      [this.#now, this.#next] = [this.#next, this.#now];
      [this.#nowSaved, this.#nextSaved] = [this.#nextSaved, this.#nowSaved];
      this.#next.length = 0;
      this.#nextSaved.length = 0;
      if (after === -1) return found;
      before = after;
      at += width;
    }
  }

  #turn(): void {
    if (++this.#round === 0xffff_ffff) {
      this.#seen.fill(0);
      this.#round = 1;
    }
  }

  /** Puts the instructions that are reachable without a character on a list, most preferred first. */
  #add(
    from: number,
    at: number,
    before: number,
    after: number,
    list: number[],
    lists: Places[],
    places: Places | undefined,
  ): void {
    let pc = from;
    let saved = places;
    /** The second ways, with the places saved on the way to them. */
    let others: { pc: number; saved: Places | undefined }[] | undefined;
    for (;;) {
      this.steps++;
      let next = -1;
      if (this.#seen[pc] !== this.#round) {
        this.#seen[pc] = this.#round;
        const one = this.#code[pc] as RegexInstruction;
        if (one.op === 'split') {
          others ??= [];
          others.push({ pc: one.second, saved });
          next = one.first;
        } else if (one.op === 'jump') next = one.to;
        else if (one.op === 'save') {
          if (saved !== undefined) saved = saved.with(one.slot, at);
          next = pc + 1;
        } else if (one.op === 'assert') {
          if (one.holds(before, after)) next = pc + 1;
        } else {
          list.push(pc);
          if (saved !== undefined) lists.push(saved);
        }
      }
      if (next >= 0) {
        pc = next;
        continue;
      }
      const other = others?.pop();
      if (other === undefined) return;
      pc = other.pc;
      saved = other.saved;
    }
  }
}

/** The set of the characters in some ranges, both ends included. */
export function rangesSet(ranges: readonly (readonly [low: number, high: number])[]): CharSet {
  if (ranges.length === 1) {
    const [low, high] = ranges[0] as readonly [number, number];
    return (code) => low <= code && code <= high;
  }
  return (code) => ranges.some(([low, high]) => low <= code && code <= high);
}
