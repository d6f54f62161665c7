/** Values as Go's fmt prints them. Pure. */
import { Struct, type Value } from './types.ts';

/** `%v` of a value; `top` is the value of an action, of which nothing is `<no value>`. */
export function printed(value: Value, top = false): string {
  if (value === null || value === undefined) return top ? '<no value>' : '<nil>';
  if (value instanceof Struct)
    return `{${Object.values(value.fields)
      .map((each) => printed(each))
      .join(' ')}}`;
  if (value instanceof Map) {
    return `map[${sorted(value)
      .map(([name, each]) => `${name}:${printed(each)}`)
      .join(' ')}]`;
  }
  if (Array.isArray(value)) return `[${value.map((each) => printed(each)).join(' ')}]`;
  return String(value);
}

/** A map's entries in the order in which Go prints and ranges over them. */
export function sorted(map: ReadonlyMap<string, Value>): [string, Value][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** `printf`, for the verbs that templates use. `refuse` is called for others. */
export function formatted(text: string, args: readonly Value[], refuse: (why: string) => Error): string {
  let used = 0;
  const out = text.replace(
    /%([-+ 0#]*)(\d*)(?:\.(\d+))?(.)/g,
    (_, flags: string, width: string, precision: string | undefined, verb: string) => {
      if (verb === '%') return '%';
      if (used >= args.length) return `%!${verb}(MISSING)`;
      const word = verbed(verb, args[used++], precision, refuse);
      const pad = flags.includes('0') && !flags.includes('-') && 'dxXf'.includes(verb) ? '0' : ' ';
      const signed = flags.includes('+') && 'df'.includes(verb) && !word.startsWith('-') ? `+${word}` : word;
      const size = Math.min(Number(width || 0), 10_000);
      return flags.includes('-') ? signed.padEnd(size) : signed.padStart(size, pad);
    },
  );
  return used < args.length
    ? `${out}%!(EXTRA ${args
        .slice(used)
        .map((each) => printed(each))
        .join(', ')})`
    : out;
}

function verbed(
  verb: string,
  value: Value,
  precision: string | undefined,
  refuse: (why: string) => Error,
): string {
  const text = printed(value);
  const cut = precision === undefined ? text : [...text].slice(0, Number(precision)).join('');
  switch (verb) {
    case 'v':
      return text;
    case 's':
      return cut;
    case 'q':
      return JSON.stringify(text);
    case 't':
      return text;
    case 'd':
      return typeof value === 'number' ? String(Math.trunc(value)) : `%!d(${text})`;
    case 'f':
      return typeof value === 'number'
        ? value.toFixed(Math.min(100, Number(precision ?? 6)))
        : `%!f(${text})`;
    case 'x':
    case 'X': {
      const hex = typeof value === 'number' ? value.toString(16) : Buffer.from(text).toString('hex');
      return verb === 'x' ? hex : hex.toUpperCase();
    }
    default:
      throw refuse(`printf's %${verb} is not supported`);
  }
}
