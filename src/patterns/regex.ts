/**
 * Go's regular expressions (https://github.com/google/re2/wiki/Syntax), matched in time linear in the text, whatever
 * the expression is. Pure. `regex-syntax.ts` parses them.
 */
import { fail } from '../errors/index.ts';
import { Program, type RegexInstruction, StepsSpent } from './program.ts';
import { type RegexNode, readRegex } from './regex-syntax.ts';

/** The longest expression in characters. */
const maxLength = 4096;
/** The largest number of instructions of one expression; counted repetitions multiply them. */
const maxInstructions = 20_000;

/** The steps that searches may still take together: at most some three for each instruction and character. */
export interface SearchBudget {
  left: number;
}

/** The steps of a new budget. */
const searchSteps = 1 << 20;

/** The steps that one caller may take before it must let others run: some tens of milliseconds. */
export function searchBudget(): SearchBudget {
  return { left: searchSteps };
}

/** A match: the whole (`0`) and the groups by number; undefined for a group that took no part. */
export interface RegexMatch {
  readonly index: number;
  readonly groups: readonly (string | undefined)[];
  /** The numbers of the named groups. */
  readonly names: ReadonlyMap<string, number>;
}

/** A compiled expression. */
export class Regex {
  readonly #program: Program;
  /** The number of instructions. */
  readonly size: number;
  readonly #groups: number;
  readonly #names: ReadonlyMap<string, number>;

  /** Compiles an expression. Throws a plain Error that tells what is wrong with it. */
  constructor(text: string) {
    if (text.length > maxLength) throw new Error(`it is longer than ${maxLength} characters`);
    const { node, groups, names } = readRegex(text);
    const code: RegexInstruction[] = [];
    const put = (one: RegexInstruction): number => {
      if (code.length >= maxInstructions) throw new Error('expression too large');
      return code.push(one) - 1;
    };
    put({ op: 'save', slot: 0 });
    compile(node, put, code);
    put({ op: 'save', slot: 1 });
    put({ op: 'match' });
    this.#program = new Program(code);
    this.size = code.length;
    this.#groups = groups;
    this.#names = names;
  }

  /** Whether the text contains a match. Throws `exhausted` when the search may take more than the budget. */
  test(text: string, budget = searchBudget()): boolean {
    return this.#within(budget, () => this.#program.isIn(text, budget.left));
  }

  /** The leftmost match in the text. Throws `exhausted` as `test` does. */
  exec(text: string, budget = searchBudget()): RegexMatch | undefined {
    const places = this.#within(budget, () => this.#program.find(text, 2 * (this.#groups + 1), budget.left));
    if (places === undefined) return undefined;
    const groups: (string | undefined)[] = [];
    for (let i = 0; i < places.length; i += 2) {
      const [from, to] = [places[i] as number, places[i + 1] as number];
      groups.push(from < 0 || to < 0 ? undefined : text.slice(from, to));
    }
    return { index: places[0] as number, groups, names: this.#names };
  }

  #within<T>(budget: SearchBudget, search: () => T): T {
    try {
      const found = search();
      budget.left -= this.#program.steps;
      return found;
    } catch (err) {
      if (!(err instanceof StepsSpent)) throw err;
      budget.left = 0;
    }
    throw fail(
      'exhausted',
      'client',
      'regular expressions and the texts they are looked for in are too large',
      {
        hint: 'Use fewer or shorter expressions, without counted repetitions such as {1000}.',
      },
    );
  }
}

function compile(node: RegexNode, put: (one: RegexInstruction) => number, code: RegexInstruction[]): void {
  switch (node.kind) {
    case 'set':
      put({ op: 'set', has: node.has });
      return;
    case 'char':
      put({ op: 'char', code: node.code });
      return;
    case 'assert':
      put({ op: 'assert', holds: node.holds });
      return;
    case 'group':
      put({ op: 'save', slot: 2 * node.index });
      compile(node.body, put, code);
      put({ op: 'save', slot: 2 * node.index + 1 });
      return;
    case 'all':
      for (const part of node.parts) compile(part, put, code);
      return;
    case 'one': {
      const ends: { to: number }[] = [];
      for (const [i, part] of node.parts.entries()) {
        const last = i === node.parts.length - 1;
        const split = last ? undefined : branch(put, code);
        compile(part, put, code);
        if (split === undefined) break;
        ends.push(code[put({ op: 'jump', to: -1 })] as { to: number });
        split.second = code.length;
      }
      for (const end of ends) end.to = code.length;
      return;
    }
    case 'repeat':
      repeat(node, put, code);
  }
}

function repeat(
  { body, min, max, greedy }: Extract<RegexNode, { kind: 'repeat' }>,
  put: (one: RegexInstruction) => number,
  code: RegexInstruction[],
): void {
  const splits: Split[] = [];
  const often = (times: number, optional: boolean) => {
    for (let i = 0; i < times; i++) {
      if (optional) splits.push(branch(put, code));
      compile(body, put, code);
    }
  };
  if (max !== undefined) {
    often(min, false);
    often(max - min, true);
  } else if (min === 0 && !canBeEmpty(body)) {
    const start = code.length;
    often(1, true);
    put({ op: 'jump', to: start });
  } else {
    // x+ asks after x whether to go on. Go takes (x+)? for x* where x can be empty.
    often(min - 1, false);
    const start = min === 0 ? code.length + 1 : code.length;
    often(1, min === 0);
    const again = branch(put, code);
    again.first = start;
    splits.push(again);
  }
  for (const split of splits) leave(split, greedy, code.length);
}

/** Whether an expression can match without taking a character. */
function canBeEmpty(node: RegexNode): boolean {
  switch (node.kind) {
    case 'set':
    case 'char':
      return false;
    case 'assert':
      return true;
    case 'group':
      return canBeEmpty(node.body);
    case 'all':
      return node.parts.every(canBeEmpty);
    case 'one':
      return node.parts.some(canBeEmpty);
    case 'repeat':
      return node.min === 0 || canBeEmpty(node.body);
  }
}

type Split = Extract<RegexInstruction, { op: 'split' }>;

/** Adds a split whose first way is the next instruction; its second way is set later. */
function branch(put: (one: RegexInstruction) => number, code: RegexInstruction[]): Split {
  const at = code.length;
  return code[put({ op: 'split', first: at + 1, second: -1 })] as Split;
}

/** Sets the way out of a repetition; a lazy repetition prefers it. */
function leave(split: Split, greedy: boolean, to: number): void {
  if (greedy) split.second = to;
  else {
    split.second = split.first;
    split.first = to;
  }
}
