/** Numbers as people read and write them. */
import { fail } from '../errors/index.ts';
import { daysAndWeeks, durationMs, inertLine, ramInBytes } from '../words/index.ts';

const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** 12_345_678 → `12.35MB` (powers of 1000, as docker prints sizes). */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const text = unit === 0 ? String(value) : value.toPrecision(4).replace(/\.?0+$/, '');
  return `${text}${units[unit]}`;
}

/** `64m`, `1.5GB`, `10` → bytes (powers of 1024, as docker's flags have it). Throws `invalid`. */
export function parseBytes(text: string, what: string): number {
  const bytes = ramInBytes(text);
  if (bytes === undefined)
    throw fail('invalid', 'client', `invalid ${what} ${JSON.stringify(text)}: want a size such as 64m`);
  return bytes;
}

/** `90s`, `1h30m`, `7d`, `168h` → ms. Throws `invalid`, also for one below zero. */
export function parseDuration(text: string, what: string): number {
  const ms = durationMs(text, daysAndWeeks);
  if (ms === undefined || ms < 0)
    throw fail('invalid', 'client', `invalid ${what} ${JSON.stringify(text)}: want a duration such as 24h`);
  return ms;
}

/** `3 minutes ago` */
export function ago(ms: number, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - ms) / 1000));
  const steps: [number, string][] = [
    [31_536_000, 'year'],
    [2_592_000, 'month'],
    [604_800, 'week'],
    [86_400, 'day'],
    [3_600, 'hour'],
    [60, 'minute'],
    [1, 'second'],
  ];
  for (const [size, name] of steps) {
    const n = Math.floor(seconds / size);
    if (n >= 1) return `${n} ${name}${n === 1 ? '' : 's'} ago`;
  }
  return 'just now';
}

/** Rows as left-aligned columns; the first row is the head. */
export function table(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(inertLine));
  const widths: number[] = [];
  for (const row of rows)
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd((widths[i] ?? 0) + 3)))
        .join('')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}
