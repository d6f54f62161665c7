/** `--format` as in docker's commands: the text of each row of a list. */
import { Struct, template, type Value } from '../templates/index.ts';
import { table } from './units.ts';

/** A row's fields by docker's names: `ID`, `Repository`, …. */
export type FormatRow = Readonly<Record<string, string>>;

/**
 * Rows as a format says: `json` (an object a line), a Go template (`{{.ID}}: {{json .Tag}}`), or one after `table ` with
 * a heading and columns at its tabs: a field's name in words, or what `headings` has for it. Throws `invalid`, also for a
 * field that rows do not have.
 *
 *     formatRows('{{.Repository}}:{{.Tag}}', [{ Repository: 'app', Tag: '1' }], ['Repository', 'Tag'])  // 'app:1\n'
 */
export function formatRows(
  format: string,
  rows: readonly FormatRow[],
  fields: readonly string[],
  headings: Readonly<Record<string, string>> = {},
): string {
  const inTable = /^table\s/.test(format);
  const text = inTable ? format.slice('table '.length).trim() : format;
  // docker lets shells pass on the escapes of a tab and a new line.
  const source = text === 'json' ? '{{json .}}' : text.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  const fill = template(source);
  const blank = Object.fromEntries(fields.map((name) => [name, '']));
  const lines = rows.map((row) => fill(new Struct({ ...blank, ...row }, row)));
  const head = template(
    source,
    asTheyAre,
  )(new Struct(Object.fromEntries(fields.map((n) => [n, headings[n] ?? heading(n)]))));
  if (inTable) return table([head, ...lines].map((line) => line.split('\t')));
  return lines.map((line) => `${line}\n`).join('');
}

/** In a heading, these leave the words as they are. */
const asTheyAre = Object.fromEntries(
  ['json', 'split', 'join', 'title', 'lower', 'upper', 'pad', 'truncate'].map((name) => [
    name,
    ([value]: readonly Value[]) => value,
  ]),
);

/** `CreatedAt` → `CREATED AT` */
function heading(name: string): string {
  return name.replace(/([a-z])([A-Z])/g, '$1 $2').toUpperCase();
}
