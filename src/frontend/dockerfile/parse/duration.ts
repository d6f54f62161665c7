/** Durations as Go writes them: `1h30m`, `1.5s`, `300ms`. */
import { invalid } from './errors.ts';

const UNITS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds of a duration; `0` needs no unit. Throws `invalid`. */
export function parseDuration(text: string): number {
  const bad = (why: string) =>
    invalid(`time: ${why} ${JSON.stringify(text)}`, 'Write a duration such as 30s or 1m30s.');
  const body = /^[-+]/.test(text) ? text.slice(1) : text;
  if (body === '0') return 0;
  if (body === '') throw bad('invalid duration');
  let total = 0;
  let at = 0;
  const part = /(\d+\.?\d*|\.\d+)([^\d.]*)/y;
  while (at < body.length) {
    part.lastIndex = at;
    const match = part.exec(body);
    if (match === null) throw bad('invalid duration');
    const unit = match[2]!;
    if (unit === '') throw bad('missing unit in duration');
    if (!Object.hasOwn(UNITS, unit)) throw bad(`unknown unit ${JSON.stringify(unit)} in duration`);
    total += Number.parseFloat(match[1]!) * UNITS[unit]!;
    at = part.lastIndex;
  }
  if (!(total <= Number.MAX_SAFE_INTEGER)) throw bad('invalid duration');
  return text.startsWith('-') ? -Math.round(total) : Math.round(total);
}
