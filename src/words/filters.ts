/** The values of docker's filters. Pure. */
import { clip, fail } from '../errors/index.ts';
import { durationMs } from './duration.ts';

/** Filters as docker has them: name → values. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/**
 * The one truth value of a filter: `1`, `true`, `0` or `false`, the only spellings that dockerd takes here. Undefined
 * when the filter is not given. Throws `invalid`.
 */
export function boolFilter(filters: Filters, name: string): boolean | undefined {
  const values = filters.get(name);
  if (values === undefined) return undefined;
  const isTrue = values.includes('1') || values.includes('true');
  const isFalse = values.includes('0') || values.includes('false');
  if (isTrue === isFalse) throw fail('invalid', 'client', `invalid filter '${name}=[${values.join(' ')}]'`);
  return isTrue;
}

/** Whether labels satisfy the filters `label` (all of them) and `label!` (none of them), each `key` or `key=value`. */
export function labelsMatch(filters: Filters, labels: Record<string, string>): boolean {
  const has = (text: string) => {
    const at = text.indexOf('=');
    if (at < 0) return Object.hasOwn(labels, text);
    return labels[text.slice(0, at)] === text.slice(at + 1);
  };
  return (filters.get('label') ?? []).every(has) && !(filters.get('label!') ?? []).some(has);
}

/**
 * A time in docker's filters, in ms since the epoch: seconds since the epoch with a fraction, RFC 3339, or an age
 * (`10m`, `1h30m`). Throws `invalid`.
 */
export function readTime(text: string, name: string, now = Date.now()): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const age = durationMs(text);
  if (age !== undefined) return now - age;
  const date = Date.parse(text);
  if (/^\d{4}-\d\d/.test(text) && !Number.isNaN(date)) return date;
  throw fail('invalid', 'client', `invalid value for ${name}: ${JSON.stringify(clip(text, 100))}`, {
    hint: 'Want a Unix time, RFC 3339, or an age such as 24h.',
  });
}
