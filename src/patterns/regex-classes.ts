/** The named classes of Go's regular expressions: https://github.com/google/re2/wiki/Syntax. Pure. */
import { type CharSet, rangesSet } from './program.ts';

const graph: [number, number] = [0x21, 0x7e];
const digits: [number, number] = [0x30, 0x39];
const upper: [number, number] = [0x41, 0x5a];
const lower: [number, number] = [0x61, 0x7a];

const posix: Readonly<Record<string, [number, number][]>> = {
  alnum: [digits, upper, lower],
  alpha: [upper, lower],
  ascii: [[0, 0x7f]],
  blank: [
    [9, 9],
    [32, 32],
  ],
  cntrl: [
    [0, 0x1f],
    [0x7f, 0x7f],
  ],
  digit: [digits],
  graph: [graph],
  lower: [lower],
  print: [[0x20, 0x7e]],
  punct: [
    [0x21, 0x2f],
    [0x3a, 0x40],
    [0x5b, 0x60],
    [0x7b, 0x7e],
  ],
  space: [
    [9, 13],
    [32, 32],
  ],
  upper: [upper],
  word: [digits, upper, lower, [0x5f, 0x5f]],
  xdigit: [digits, [0x41, 0x46], [0x61, 0x66]],
};

/** The class named by `alpha` in `[[:alpha:]]`; undefined when there is no such class. */
export function posixClass(name: string): CharSet | undefined {
  return Object.hasOwn(posix, name) ? rangesSet(posix[name] as [number, number][]) : undefined;
}

/** The class named by `L` or `Greek` in `\p{Greek}`; undefined when there is no such category or script. */
export function unicodeClass(name: string): CharSet | undefined {
  if (name === 'Any') return () => true;
  // Only names of these forms are put into an expression.
  for (const property of [`General_Category=${name}`, `Script=${name}`]) {
    if (!/^\w+=\w+$/.test(property)) return undefined;
    try {
      const one = new RegExp(`^\\p{${property}}$`, 'u');
      return (code) => one.test(String.fromCodePoint(code));
    } catch {
      // The name is not a property of this kind.
    }
  }
  return undefined;
}
