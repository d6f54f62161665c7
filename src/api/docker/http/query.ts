/** Reads the parameters of a query as dockerd reads them. Pure. */
import { DrydockError } from '../../../errors/index.ts';
import type { Filters } from '../../../words/index.ts';
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
