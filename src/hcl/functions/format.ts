/** Texts by patterns with verbs, as Go's fmt has them: `format("%03d-%s", 7, "a")`. */
import type { Value } from '../types.ts';
import { boolOf, elementsOf, isMap, numberOf, numberText, plain, textOf } from '../values.ts';

const verbs = /%(?:%|([-+ #0]*)(\d+)?(?:\.(\d+))?(?:\[(\d+)\])?(.))/gu;
const maxWidth = 10_000;

/** Fills the verbs of a pattern in. Throws an Error for a verb that there is not, and for arguments that do not fit. */
export function formatText(pattern: string, args: readonly Value[]): string {
  let next = 0;
  let highest = 0;
  const text = pattern.replace(verbs, (whole, flags = '', width, precision, index, verb) => {
    if (whole === '%%') return '%';
    if (index !== undefined) next = Number(index) - 1;
    const arg = args[next];
    if (arg === undefined)
      throw new Error(
        `not enough arguments for ${JSON.stringify(whole)}: need index ${next + 1} but have ${args.length} total`,
      );
    next++;
    highest = Math.max(highest, next);
    const size = Number(width ?? 0);
    if (size > maxWidth || Number(precision ?? 0) > maxWidth)
      throw new Error(`the width of ${whole} is too large`);
    const shown = one(arg, verb, flags, precision === undefined ? undefined : Number(precision), whole);
    return padded(shown, size, flags, verb);
  });
  if (highest < args.length) throw new Error(`too many arguments; only ${highest} used by format string`);
  return text;
}

/** One text for each element of the arguments that are lists; all of them must be equally long. */
export function formatList(pattern: string, args: readonly Value[]): Value {
  const lists = args.map((arg) => (isMap(arg) ? undefined : elementsOf(arg)));
  const lengths = new Set(lists.flatMap((list) => (list === undefined ? [] : [list.length])));
  if (lengths.size === 0) return [formatText(pattern, args)];
  if (lengths.size > 1) throw new Error('all lists must have the same length');
  const [length = 0] = lengths;
  return Array.from({ length }, (_, i) =>
    formatText(
      pattern,
      args.map((arg, n) => lists[n]?.[i] ?? arg),
    ),
  );
}

function one(arg: Value, verb: string, flags: string, precision: number | undefined, whole: string): string {
  const number = () => {
    const value = numberOf(arg);
    if (value === undefined)
      throw new Error(`unsupported value for ${JSON.stringify(whole)}: number required`);
    return value;
  };
  const signed = (text: string) =>
    (!text.startsWith('-') && /[+ ]/.test(flags) ? (flags.includes('+') ? '+' : ' ') : '') + text;
  const inBase = (base: number) => signed(BigInt(Math.trunc(number())).toString(base));
  const cut = (text: string) => (precision === undefined ? text : [...text].slice(0, precision).join(''));
  switch (verb) {
    case 'v':
      if (flags.includes('#')) return JSON.stringify(plain(arg));
      return cut(arg === null ? 'null' : (textOf(arg) ?? JSON.stringify(plain(arg))));
    case 's':
    case 'q': {
      const text = textOf(arg);
      if (text === undefined)
        throw new Error(`unsupported value for ${JSON.stringify(whole)}: string required`);
      return verb === 'q' ? JSON.stringify(cut(text)) : cut(text);
    }
    case 't': {
      const value = boolOf(arg);
      if (value === undefined)
        throw new Error(`unsupported value for ${JSON.stringify(whole)}: bool required`);
      return String(value);
    }
    case 'd':
      return inBase(10);
    case 'b':
      return inBase(2);
    case 'o':
      return inBase(8);
    case 'x':
      return inBase(16);
    case 'X':
      return inBase(16).toUpperCase();
    case 'f':
    case 'F':
      return signed(number().toFixed(Math.min(100, precision ?? 6)));
    case 'e':
    case 'E': {
      const text = signed(number().toExponential(Math.min(100, precision ?? 6))).replace(
        /e([+-])(\d)$/,
        'e$10$2',
      );
      return verb === 'E' ? text.toUpperCase() : text;
    }
    case 'g':
    case 'G':
      return signed(
        precision === undefined
          ? numberText(number())
          : numberText(Number(number().toPrecision(Math.max(1, Math.min(100, precision))))),
      );
    default:
      throw new Error(`unsupported format verb ${JSON.stringify(verb)} in ${JSON.stringify(whole)}`);
  }
}

function padded(text: string, width: number, flags: string, verb: string): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes('-')) return text + ' '.repeat(missing);
  if (!flags.includes('0') || 'sqvt'.includes(verb)) return ' '.repeat(missing) + text;
  const sign = /^[+ -]/.exec(text)?.[0] ?? '';
  return sign + '0'.repeat(missing) + text.slice(sign.length);
}
