/** Reads durations in Go's form: `1h30m`, `1.5s`, `300ms`. https://pkg.go.dev/time#ParseDuration */

/** The nanoseconds of each unit. */
const goUnits: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** The longest text that is still a duration, in characters. */
const maxLength = 200;

/** Units that people expect and Go lacks, for `durationMs`. */
export const daysAndWeeks: Readonly<Record<string, number>> = { d: 24 * 3600e9, w: 168 * 3600e9 };

/**
 * The nanoseconds of a duration, rounded. `0` needs no unit, and a sign may stand in front. Throws the error that `bad`
 * makes of the reason, such as "missing unit in duration".
 */
export function durationNs(text: string, bad: (why: string) => Error): number {
  const read = readDuration(text, goUnits);
  if (typeof read === 'string') throw bad(read);
  return Math.round(read);
}

/** The milliseconds of a duration, with a fraction; undefined for any other text. `more`: further units, in ns. */
export function durationMs(text: string, more?: Readonly<Record<string, number>>): number | undefined {
  const read = readDuration(text, more === undefined ? goUnits : { ...goUnits, ...more });
  return typeof read === 'string' ? undefined : read / 1e6;
}

/** The nanoseconds, or the reason why there are none. */
function readDuration(text: string, units: Readonly<Record<string, number>>): number | string {
  if (text.length > maxLength) return 'invalid duration';
  const body = /^[-+]/.test(text) ? text.slice(1) : text;
  if (body === '0') return 0;
  if (body === '') return 'invalid duration';
  let total = 0;
  let at = 0;
  const part = /(\d+(?:\.\d*)?|\.\d+)([^\d.]*)/y;
  while (at < body.length) {
    part.lastIndex = at;
    const [whole, count = '', unit = ''] = part.exec(body) ?? [];
    if (whole === undefined) return 'invalid duration';
    if (unit === '') return 'missing unit in duration';
    if (!Object.hasOwn(units, unit)) return `unknown unit ${JSON.stringify(unit)} in duration`;
    total += Number.parseFloat(count) * (units[unit] as number);
    at = part.lastIndex;
  }
  // Go counts nanoseconds in 64 bits.
  if (!(total < 2 ** 63)) return 'invalid duration';
  return text.startsWith('-') ? -total : total;
}
