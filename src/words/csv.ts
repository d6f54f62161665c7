/**
 * Reads and writes one line of comma-separated fields, as Go's clients do (https://pkg.go.dev/encoding/csv, RFC 4180). A field
 * that begins with a double quote ends with one, and two quotes in a row stand for one inside; other fields have no
 * quotes.
 */

/**
 * The fields of a line; an empty line has one empty field. When the quotes are wrong, throws the error that `bad` makes
 * of the reason, such as "a quote is not closed".
 *
 *     csvFields('type=bind,"source=a,b"', bad) // ['type=bind', 'source=a,b']
 */
export function csvFields(text: string, bad: (why: string) => Error): string[] {
  const fields: string[] = [];
  let at = 0;
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

/** The line that has these fields; '' for none. `csvFields` reads it again. */
export function csvLine(fields: readonly string[]): string {
  return fields.map((field) => (/[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',');
}
