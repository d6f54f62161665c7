/** One line of comma-separated fields, as `--mount` and `--device` take them (RFC 4180 quoting). */
import { invalid } from './errors.ts';

/** The fields of a line. Throws `invalid` on a quote that is not closed or stands inside a bare field. */
export function csvFields(text: string): string[] {
  const fields: string[] = [];
  let at = 0;
  const bad = (why: string) =>
    invalid(
      `failed to parse csv: ${why} in ${JSON.stringify(text)}`,
      'Put a field with a comma in double quotes.',
    );
  for (;;) {
    if (text[at] !== '"') {
      const comma = text.indexOf(',', at);
      const field = text.slice(at, comma < 0 ? undefined : comma);
      if (field.includes('"')) throw bad('bare " in a field');
      fields.push(field);
      if (comma < 0) return fields;
      at = comma + 1;
      continue;
    }
    let field = '';
    at++;
    for (;;) {
      const end = text.indexOf('"', at);
      if (end < 0) throw bad('a quote is not closed');
      field += text.slice(at, end);
      at = end + 1;
      if (text[at] !== '"') break;
      field += '"';
      at++;
    }
    fields.push(field);
    if (at >= text.length) return fields;
    if (text[at] !== ',') throw bad('text behind a closing quote');
    at++;
  }
}
