/**
 * Filters in containerd's form: `type==regular,description~=apt`. Several filters are alternatives. Pure. The syntax is
 * in https://github.com/containerd/containerd/blob/main/pkg/filters/filter.go.
 */
import { clip, fail } from '../errors/index.ts';
import { Regex, type SearchBudget, searchBudget } from './regex.ts';

/** The fields that filters test; the keys of a map come after a point (`labels.key`). */
export type Fields = Readonly<Record<string, string | boolean | Readonly<Record<string, string>>>>;

interface Condition {
  path: string[];
  operator: '' | '==' | '!=' | '~=';
  value: string;
}

const part = /(?:"((?:[^"\\]|\\.)*)"|([\w/-]+))/y;
const quoted = /"((?:[^"\\]|\\.)*)"|([^,"]*)/y;

/** The longest text of all filters together. */
const maxLength = 65_536;

/** Tests whether fields fit. Throws `exhausted` when the filters' expressions are too large for these fields. */
type Filter = (fields: Fields) => boolean;

/**
 * Parses filters; one of them must fit if there are any. Throws `invalid` on a malformed one. Each test of a filter
 * takes time linear in the fields, and all tests together are limited in time.
 */
export function readFilters(filters: readonly string[]): Filter {
  checkFiltersLength(filters);
  const alternatives = filters.map((filter) => parseFilter(filter).map(compile));
  return (fields) => {
    if (alternatives.length === 0) return true;
    const budget = searchBudget();
    return alternatives.some((conditions) => conditions.every((fits) => fits(fields, budget)));
  };
}

/** Throws `invalid` when the filters are too long or too many. */
export function checkFiltersLength(filters: readonly string[]): void {
  if (filters.reduce((sum, { length }) => sum + length + 1, 0) <= maxLength) return;
  throw fail('invalid', 'client', `the filters are longer than ${maxLength} characters`);
}

function parseFilter(text: string): Condition[] {
  const bad = (at: number) =>
    fail('invalid', 'client', `failed to parse filter ${JSON.stringify(clip(text, 1000))} at ${at}`, {
      hint: 'Filters look like type==regular or description~=apt; conditions are joined by commas.',
    });
  const conditions: Condition[] = [];
  let at = 0;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) throw bad(at);
    at = pattern.lastIndex;
    return match[1] === undefined ? (match[2] ?? '') : match[1].replace(/\\(.)/g, '$1');
  };
  while (at < text.length) {
    const path = [take(part)];
    while (text[at] === '.') {
      at++;
      path.push(take(part));
    }
    const operator = (['==', '!=', '~='] as const).find((each) => text.startsWith(each, at)) ?? '';
    at += operator.length;
    const value = operator === '' ? '' : take(quoted);
    conditions.push({ path, operator, value });
    if (at === text.length) break;
    if (text[at] !== ',' || at + 1 === text.length) throw bad(at);
    at++;
  }
  return conditions;
}

function compile({ path, operator, value }: Condition): (fields: Fields, budget: SearchBudget) => boolean {
  const [name = '', ...rest] = path;
  const key = rest.join('.');
  const pattern = operator === '~=' ? expression(value) : undefined;
  return (fields, budget) => {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const found = typeof field === 'object' ? (Object.hasOwn(field, key) ? field[key] : undefined) : field;
    const text = found === undefined || found === false ? '' : found === true ? 'true' : found;
    if (pattern !== undefined) return pattern.test(text, budget);
    if (operator === '') return text !== '';
    const equal = typeof found === 'boolean' ? String(found) === value : text === value;
    return (operator === '==') === equal;
  };
}

function expression(text: string): Regex {
  try {
    return new Regex(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fail('invalid', 'client', `the filter's regular expression cannot be read: ${clip(why, 1000)}`, {
      cause,
    });
  }
}
