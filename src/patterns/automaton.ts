/**
 * Patterns without conditions on places. All possibilities are followed at once, so a text costs at most (instructions
 * × characters) steps, whatever the pattern is. The automaton remembers which possibilities follow which by which
 * character, so a pattern that is used on many texts soon costs one look-up for each character. Pure.
 */
import type { CharSet } from './program.ts';

/**
 * A step. It is followed by the next one unless it names another; places are indexes into the list, and the end is
 * behind the last step.
 */
export type AutomatonStep =
  | { readonly op: 'char'; readonly code: number }
  | { readonly op: 'set'; readonly has: CharSet }
  | { readonly op: 'split'; readonly first: number; readonly second: number }
  | { readonly op: 'jump'; readonly to: number };

/** A set of steps that wait for a character. */
interface AutomatonState {
  waiting: readonly number[];
  /** Whether the text may end here. */
  accepts: boolean;
  /** The next state by character (below 128); undefined where it is not remembered. */
  next: (AutomatonState | undefined)[] | undefined;
}

/** The space for remembered states, which several patterns may share. When it is used up, nothing new is remembered. */
export interface PatternMemory {
  /** The free space, counted in numbers of some 8 bytes. */
  left: number;
}

const tableSize = 128;

/** A list of steps, ready to match texts. */
export class Automaton {
  readonly #steps: readonly AutomatonStep[];
  /** For each step, the last round in which it was reached. */
  readonly #seen: Float64Array;
  #round = 0;
  readonly #states = new Map<string, AutomatonState>();
  readonly #memory: PatternMemory;
  readonly #start: AutomatonState;

  constructor(steps: readonly AutomatonStep[], memory: PatternMemory) {
    this.#steps = steps;
    this.#memory = memory;
    this.#seen = new Float64Array(steps.length + 1);
    this.#round++;
    const waiting: number[] = [];
    this.#start = this.#state(waiting, this.#reach(0, waiting));
  }

  /** Whether the whole text matches. */
  matches(text: string): boolean {
    let state = this.#start;
    for (let at = 0; at < text.length; at++) {
      let code = text.charCodeAt(at);
      if (code >= 0xd800 && code < 0xdc00) {
        code = text.codePointAt(at) as number;
        if (code > 0xffff) at++;
      }
      state = state.next?.[code] ?? this.#follow(state, code);
      if (state.waiting.length === 0 && !state.accepts) return false;
    }
    return state.accepts;
  }

  #follow(state: AutomatonState, code: number): AutomatonState {
    this.#round++;
    const waiting: number[] = [];
    let accepts = false;
    for (const at of state.waiting) {
      const step = this.#steps[at] as AutomatonStep;
      const fits = step.op === 'char' ? step.code === code : step.op === 'set' && step.has(code);
      if (fits && this.#reach(at + 1, waiting)) accepts = true;
    }
    const next = this.#state(waiting, accepts);
    if (state.next !== undefined && next.next !== undefined && code < tableSize) state.next[code] = next;
    return next;
  }

  #state(waiting: readonly number[], accepts: boolean): AutomatonState {
    const size = tableSize + waiting.length;
    if (size > this.#memory.left) return { waiting, accepts, next: undefined };
    const key = `${waiting.join()}${accepts ? '.' : ''}`;
    let state = this.#states.get(key);
    if (state === undefined) {
      state = { waiting, accepts, next: new Array<AutomatonState | undefined>(tableSize).fill(undefined) };
      this.#states.set(key, state);
      this.#memory.left -= size;
    }
    return state;
  }

  /** Adds the steps that are reachable without a character; returns whether the end is reachable. */
  #reach(from: number, waiting: number[]): boolean {
    const others: number[] = [];
    let accepts = false;
    for (let at: number | undefined = from; at !== undefined; ) {
      const step: AutomatonStep | undefined = this.#steps[at];
      const known = this.#seen[at] === this.#round;
      this.#seen[at] = this.#round;
      if (known) at = others.pop();
      else if (step === undefined) {
        accepts = true;
        at = others.pop();
      } else if (step.op === 'jump') at = step.to;
      else if (step.op === 'split') {
        others.push(step.second);
        at = step.first;
      } else {
        waiting.push(at);
        at = others.pop();
      }
    }
    return accepts;
  }
}
