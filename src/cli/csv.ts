/** `type=local,dest=out` and its like. */
import { fail } from '../errors/error.ts';

/** Splits at commas; a field may be in double quotes, a quote inside is doubled (RFC 4180). Throws `invalid`. */
export function splitCsv(text: string): string[] {
  const fields: string[] = [];
  let field = '';
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string;
    if (quoted) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') {
        field += '"';
        i++;
      } else quoted = false;
    } else if (c === '"' && field === '') quoted = true;
    else if (c === ',') {
      fields.push(field);
      field = '';
    } else field += c;
  }
  if (quoted) throw fail('invalid', 'client', `${text}: a quote is not closed`);
  fields.push(field);
  return fields;
}

/** `a=1,b=2` as a map with lower-case keys; a field without `=` throws `invalid` unless `bare` gives it a key. */
export function parsePairs(
  text: string,
  flag: string,
  bare?: (field: string) => [string, string],
): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const field of splitCsv(text)) {
    const at = field.indexOf('=');
    if (at > 0) pairs.set(field.slice(0, at).trim().toLowerCase(), field.slice(at + 1));
    else if (bare !== undefined) pairs.set(...bare(field));
    else
      throw fail('invalid', 'client', `invalid value ${JSON.stringify(field)} for --${flag}: want key=value`);
  }
  return pairs;
}
