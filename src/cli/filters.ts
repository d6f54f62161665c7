/** Docker's `--filter KEY=VALUE`. */
import { fail, nearest } from '../errors/index.ts';
import type { Filters } from '../words/index.ts';

/** Reads filters, `KEY=VALUE` or `KEY!=VALUE` each. Throws `invalid` for one without a value, or whose name is not known. */
export function readFilters(texts: readonly string[], known: readonly string[]): Filters {
  const filters = new Map<string, string[]>();
  for (const text of texts) {
    const [, name = '', value] = /^([^=]*?)=(.*)$/s.exec(text) ?? [];
    if (value === undefined) {
      throw fail('invalid', 'client', `invalid filter ${JSON.stringify(text)}: want KEY=VALUE`);
    }
    const key = name.trim().toLowerCase();
    if (!known.includes(key)) {
      const like = nearest(key, known);
      throw fail('invalid', 'client', `invalid filter ${JSON.stringify(key)}`, {
        hint: like === undefined ? `Filters here are: ${known.join(', ')}.` : `Did you mean ${like}?`,
      });
    }
    filters.set(key, [...(filters.get(key) ?? []), value]);
  }
  return filters;
}
