/** The functions of templates: Go's own, and those that docker adds. Pure. */
import { formatted, printed } from './print.ts';
import { jsonOf, StringMap, Struct, type Value } from './types.ts';

/** Throws what is wrong with a call. */
type Refuse = (why: string) => Error;

type Function = (args: readonly Value[], refuse: Refuse) => Value;

/** Whether a value counts as true. */
export function isTrue(value: Value): boolean {
  if (value instanceof Struct) return true;
  if (value instanceof Map) return value.size > 0;
  if (Array.isArray(value)) return value.length > 0;
  return Boolean(value);
}

/** An element of a list or a map. What a map does not have is undefined. */
function indexed(of: Value, by: Value, refuse: Refuse): Value {
  if (of instanceof Map) {
    const found = of.get(text(by, refuse));
    return found === undefined && of instanceof StringMap ? '' : found;
  }
  const list = typeof of === 'string' ? [...Buffer.from(of)] : of;
  if (!Array.isArray(list)) throw refuse(`index of ${printed(of)}, which is no list and no map`);
  if (typeof by !== 'number' || by < 0 || by >= list.length)
    throw refuse(`index ${printed(by)} of ${list.length}`);
  return list[by];
}

function text(value: Value, refuse: Refuse): string {
  if (typeof value === 'string') return value;
  throw refuse(`${printed(value)} is no string`);
}

function list(value: Value, refuse: Refuse): readonly Value[] {
  if (Array.isArray(value)) return value;
  if (value === null || value === undefined) return [];
  throw refuse(`${printed(value)} is no list`);
}

function number(value: Value, refuse: Refuse): number {
  if (typeof value === 'number') return value;
  throw refuse(`${printed(value)} is no number`);
}

function lessThan(a: Value, b: Value, refuse: Refuse): boolean {
  if (typeof a === 'number' && typeof b === 'number') return a < b;
  return text(a, refuse) < text(b, refuse);
}

/** Go's print puts a space between operands of which neither is a string. */
function joined(args: readonly Value[]): string {
  return args
    .map((arg, i) => {
      const apart = i > 0 && typeof arg !== 'string' && typeof args[i - 1] !== 'string';
      return `${apart ? ' ' : ''}${printed(arg)}`;
    })
    .join('');
}

function sliced(args: readonly Value[], refuse: Refuse): Value {
  const [of, from = 0, to] = args;
  const bytes = typeof of === 'string' ? Buffer.from(of) : undefined;
  const whole = bytes ?? list(of as Value, refuse);
  const [a, b] = [number(from, refuse), to === undefined ? whole.length : number(to, refuse)];
  if (a < 0 || a > b || b > whole.length) throw refuse(`slice ${a}:${b} of ${whole.length}`);
  return bytes === undefined ? (whole as readonly Value[]).slice(a, b) : bytes.subarray(a, b).toString();
}

const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
};

/** The functions by their names, each with the fewest and the most arguments. */
export const functions: Readonly<Record<string, [number, number, Function]>> = {
  // These two leave arguments out: see `Filling`.
  and: [1, Infinity, (args) => args.at(-1)],
  or: [1, Infinity, (args) => args.at(-1)],
  not: [1, 1, ([arg]) => !isTrue(arg)],
  len: [
    1,
    1,
    ([of], refuse) => {
      if (typeof of === 'string') return Buffer.byteLength(of);
      if (of instanceof Map) return of.size;
      return list(of, refuse).length;
    },
  ],
  index: [
    1,
    Infinity,
    ([of, ...by], refuse) => by.reduce<Value>((found, each) => indexed(found, each, refuse), of),
  ],
  slice: [1, 3, sliced],
  eq: [2, Infinity, ([a, ...others]) => others.some((b) => same(a, b))],
  ne: [2, 2, ([a, b]) => !same(a, b)],
  lt: [2, 2, ([a, b], refuse) => lessThan(a, b, refuse)],
  le: [2, 2, ([a, b], refuse) => !lessThan(b, a, refuse)],
  gt: [2, 2, ([a, b], refuse) => lessThan(b, a, refuse)],
  ge: [2, 2, ([a, b], refuse) => !lessThan(a, b, refuse)],
  print: [0, Infinity, joined],
  println: [0, Infinity, (args) => `${args.map((arg) => printed(arg)).join(' ')}\n`],
  printf: [1, Infinity, ([format, ...args], refuse) => formatted(text(format, refuse), args, refuse)],
  html: [1, Infinity, (args) => joined(args).replace(/[&<>"']/g, (mark) => escapes[mark] as string)],
  urlquery: [1, Infinity, (args) => encodeURIComponent(joined(args)).replaceAll('%20', '+')],
  json: [1, 1, ([value]) => JSON.stringify(jsonOf(value))],
  split: [2, 2, ([whole, by], refuse) => text(whole, refuse).split(text(by, refuse))],
  join: [
    2,
    2,
    ([parts, by], refuse) =>
      list(parts, refuse)
        .map((each) => printed(each))
        .join(text(by, refuse)),
  ],
  title: [
    1,
    1,
    ([word], refuse) => text(word, refuse).replace(/(?<![\p{L}\p{N}_'])\p{Ll}/gu, (c) => c.toUpperCase()),
  ],
  lower: [1, 1, ([word], refuse) => text(word, refuse).toLowerCase()],
  upper: [1, 1, ([word], refuse) => text(word, refuse).toUpperCase()],
  pad: [
    3,
    3,
    ([word, before, after], refuse) => {
      const plain = text(word, refuse);
      const spaces = (n: Value) => ' '.repeat(Math.max(0, Math.min(10_000, number(n, refuse))));
      return plain === '' ? plain : `${spaces(before)}${plain}${spaces(after)}`;
    },
  ],
  truncate: [
    2,
    2,
    ([word, length], refuse) => [...text(word, refuse)].slice(0, number(length, refuse)).join(''),
  ],
};

function same(a: Value, b: Value): boolean {
  return a === b || ((a ?? null) === null && (b ?? null) === null);
}
