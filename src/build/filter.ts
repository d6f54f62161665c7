/**
 * Filters as containerd writes them: `type==regular,description~=apt`, several of which are alternatives. Pure.
 * https://github.com/containerd/containerd/blob/main/pkg/filters/filter.go has the syntax.
 */
import { fail } from '../errors/error.ts';

/** What filters look at: fields, of which maps have their keys after a point. */
export type Fields = Readonly<Record<string, string | boolean | Readonly<Record<string, string>>>>;

interface Condition {
  path: string[];
  operator: '' | '==' | '!=' | '~=';
  value: string;
}

const part = /(?:"((?:[^"\\]|\\.)*)"|([\w/-]+))/y;
const quoted = /"((?:[^"\\]|\\.)*)"|([^,"]*)/y;

/** Longest filter read; a regular expression in it is the caller's own time. */
const maxLength = 4096;

/** Whether one of the filters fits, or there is none. Throws `invalid` on one that cannot be read. */
export function matches(filters: readonly string[], fields: Fields): boolean {
  return filters.length === 0 || filters.some((filter) => parseFilter(filter).every((c) => fits(c, fields)));
}

function parseFilter(text: string): Condition[] {
  const bad = (at: number) =>
    fail('invalid', 'client', `failed to parse filter ${JSON.stringify(text)} at ${at}`, {
      hint: 'Filters look like type==regular or description~=apt; conditions are joined by commas.',
    });
  if (text.length > maxLength) throw bad(maxLength);
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

function fits({ path, operator, value }: Condition, fields: Fields): boolean {
  const [name = '', ...rest] = path;
  const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
  const key = rest.join('.');
  const found = typeof field === 'object' ? (Object.hasOwn(field, key) ? field[key] : undefined) : field;
  const text = found === undefined || found === false ? '' : found === true ? 'true' : found;
  switch (operator) {
    case '':
      return text !== '';
    case '==':
      return typeof found === 'boolean' ? String(found) === value : text === value;
    case '!=':
      return typeof found === 'boolean' ? String(found) !== value : text !== value;
    case '~=':
      return expression(value).test(text);
  }
}

function expression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (cause) {
    throw fail(
      'invalid',
      'client',
      `the filter's regular expression ${JSON.stringify(text)} cannot be read`,
      { cause },
    );
  }
}
