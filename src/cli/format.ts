/** `--format` as in docker's commands: the text of each row of a list. */
import { fail } from '../errors/index.ts';
import { table } from './units.ts';

/** A row's fields by docker's names: `ID`, `Repository`, …. */
export type FormatRow = Readonly<Record<string, string>>;

type Part = { text: string } | { field: string } | { json: string | undefined };

/**
 * Rows as a format says: `json` (an object a line), a Go template of fields (`{{.ID}}: {{json .Tag}}`, `{{json .}}`), or
 * one of those after `table ` with a heading. Of Go's templates there are only fields and `json`; anything else is
 * refused, as is a field that a row does not have. Throws `invalid`.
 *
 *     formatRows('{{.Repository}}:{{.Tag}}', [{ Repository: 'app', Tag: '1' }], ['Repository', 'Tag'])  // 'app:1\n'
 */
export function formatRows(format: string, rows: readonly FormatRow[], fields: readonly string[]): string {
  const inTable = /^table\s/.test(format);
  const text = inTable ? format.slice('table '.length).trim() : format;
  const parts = text === 'json' ? [{ json: undefined }] : parse(text, fields);
  if (inTable) {
    const head = parts.map((part) => ('text' in part ? part.text : heading(part))).join('');
    return table([head, ...rows.map((row) => fill(parts, row))].map((line) => line.split('\t')));
  }
  return rows.map((row) => `${fill(parts, row)}\n`).join('');
}

function parse(text: string, fields: readonly string[]): Part[] {
  const parts: Part[] = [];
  let rest = text.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  while (rest !== '') {
    const open = rest.indexOf('{{');
    if (open !== 0) parts.push({ text: open < 0 ? rest : rest.slice(0, open) });
    if (open < 0) break;
    const close = rest.indexOf('}}', open);
    if (close < 0) throw bad(text, 'a {{ is not closed');
    parts.push(action(rest.slice(open + 2, close).trim(), text, fields));
    rest = rest.slice(close + 2);
  }
  return parts;
}

function action(words: string, text: string, fields: readonly string[]): Part {
  const match = /^(json\s+)?\.(\w*)$/.exec(words);
  const [, json, field = ''] = match ?? [];
  if (match === null || (field === '' && json === undefined)) {
    throw bad(text, `{{${words}}} is not supported`);
  }
  if (field !== '' && !fields.includes(field)) throw bad(text, `there is no field ${field}`, fields);
  if (json !== undefined) return { json: field === '' ? undefined : field };
  return { field };
}

function fill(parts: readonly Part[], row: FormatRow): string {
  return parts
    .map((part) => {
      if ('text' in part) return part.text;
      if ('field' in part) return row[part.field] ?? '';
      return JSON.stringify(part.json === undefined ? row : row[part.json]);
    })
    .join('');
}

/** `CreatedAt` → `CREATED AT` */
function heading(part: Exclude<Part, { text: string }>): string {
  const name = ('field' in part ? part.field : part.json) ?? '';
  return name.replace(/([a-z])([A-Z])/g, '$1 $2').toUpperCase();
}

function bad(format: string, why: string, fields?: readonly string[]): Error {
  return fail('invalid', 'client', `invalid --format ${JSON.stringify(format)}: ${why}`, {
    hint:
      fields === undefined ? 'Templates have {{.Field}} and {{json .}}.' : `Fields: ${fields.join(', ')}.`,
  });
}
