/** Reads the parameters of a query as dockerd reads them. Pure. */
import { clip, DrydockError } from '../../../errors/index.ts';
import { durationMs } from '../../../words/index.ts';
import { apiError } from './errors.ts';
import { checkCount, parseBoundedJson, requestLimits } from './limits.ts';

/** The parameters of a query. Each may be given several times. */
export class Query {
  readonly #params: URLSearchParams;

  /** `search` begins with the question mark. Throws `invalid` for more parameters than are allowed. */
  constructor(search: string) {
    let count = 1;
    for (let at = search.indexOf('&'); at >= 0; at = search.indexOf('&', at + 1)) count++;
    checkCount('the query', count, requestLimits.parameters);
    this.#params = new URLSearchParams(search);
  }

  /** The first value; '' when the parameter is missing. */
  text(name: string): string {
    return this.#params.get(name) ?? '';
  }

  has(name: string): boolean {
    return this.#params.has(name);
  }

  all(name: string): string[] {
    return this.#params.getAll(name);
  }

  /** False for an empty value, `0`, `no`, `false` and `none`; true for everything else. */
  bool(name: string): boolean {
    return !['', '0', 'no', 'false', 'none'].includes(this.text(name).trim().toLowerCase());
  }

  /** A whole number; undefined when the parameter is missing. Throws `invalid`. */
  int(name: string): number | undefined {
    const value = this.text(name);
    if (value === '') return undefined;
    if (!/^[+-]?\d{1,19}$/.test(value)) {
      throw apiError('invalid', `${name} must be a whole number, not ${JSON.stringify(value)}`);
    }
    return Number(value);
  }

  /** A JSON value; undefined when the parameter is missing or `null`. Throws `invalid`. */
  json(name: string): unknown {
    const value = this.text(name);
    if (value === '') return undefined;
    try {
      return parseBoundedJson(value, name) ?? undefined;
    } catch (cause) {
      if (cause instanceof DrydockError) throw cause;
      throw apiError(
        'invalid',
        `error reading ${name}: ${cause instanceof Error ? cause.message : 'no JSON'}`,
      );
    }
  }

  /** A JSON object whose values are texts; `null` values are left out. Throws `invalid`. */
  jsonMap(name: string): Record<string, string> {
    const value = this.json(name);
    if (value === undefined) return {};
    if (typeof value !== 'object' || Array.isArray(value)) {
      throw apiError('invalid', `error reading ${name}: want a JSON object of strings`);
    }
    const out: Record<string, string> = {};
    for (const [key, item] of Object.entries(value as object)) {
      if (item === null) continue;
      if (typeof item !== 'string') {
        throw apiError(
          'invalid',
          `error reading ${name}: the value of ${JSON.stringify(key)} is not a string`,
        );
      }
      out[key] = item;
    }
    return out;
  }

  /** The names in a JSON object whose values are null. */
  jsonNulls(name: string): string[] {
    const entries = Object.entries((this.json(name) ?? {}) as object);
    return entries.flatMap(([key, item]) => (item === null ? [key] : []));
  }

  /** A JSON list; empty when the parameter is missing, `null` or `{}`. Throws `invalid`. */
  jsonList(name: string): unknown[] {
    const value = this.json(name);
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    if (typeof value === 'object' && Object.keys(value as object).length === 0) return [];
    throw apiError('invalid', `error reading ${name}: want a JSON list`);
  }
}

/** The parameter `filters`: name → values. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/**
 * Reads `filters`, in today's form (`{"label":["a"]}`) or in that of old clients (`{"label":{"a":true}}`). Throws
 * `invalid` for another form, for names that are not in `known`, and for more values than are allowed.
 */
export function readFilters(query: Query, known: readonly string[]): Filters {
  const value = query.json('filters');
  const filters = new Map<string, string[]>();
  if (value === undefined) return filters;
  const bad = () => apiError('invalid', 'invalid filter: want {"name":["value", …]}');
  if (typeof value !== 'object' || Array.isArray(value)) throw bad();
  let count = 0;
  for (const [name, values] of Object.entries(value as object)) {
    let list: string[];
    if (Array.isArray(values)) {
      if (!values.every((item) => typeof item === 'string')) throw bad();
      list = values;
    } else if (typeof values === 'object' && values !== null) {
      list = Object.entries(values)
        .filter(([, on]) => on === true)
        .map(([key]) => key);
    } else throw bad();
    if (!known.includes(name)) {
      throw apiError('invalid', `invalid filter '${name}'`, `Filters here are: ${known.join(', ')}.`);
    }
    count += list.length;
    if (list.length > 0) filters.set(name, list);
  }
  checkCount('filters', count, requestLimits.filterValues);
  return filters;
}

/**
 * The one truth value of a filter: `1`, `true`, `0` or `false`, the only spellings that dockerd takes here. Undefined
 * when the filter is not given. Throws `invalid`.
 */
export function boolFilter(filters: Filters, name: string): boolean | undefined {
  const values = filters.get(name);
  if (values === undefined) return undefined;
  const isTrue = values.includes('1') || values.includes('true');
  const isFalse = values.includes('0') || values.includes('false');
  if (isTrue === isFalse) throw apiError('invalid', `invalid filter '${name}=[${values.join(' ')}]'`);
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
  throw apiError(
    'invalid',
    `invalid value for ${name}: ${JSON.stringify(clip(text, 100))}`,
    'Want a Unix time, RFC 3339, or an age such as 24h.',
  );
}
