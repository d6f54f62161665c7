import { expect, test } from 'vitest';
import { formatRows } from '../../src/cli/format.ts';

const rows = [
  { ID: 'a1', Repository: 'app', Tag: '1', CreatedAt: 'now' },
  { ID: 'b2', Repository: 'longer/name', Tag: '2', CreatedAt: 'then' },
];
const fields = ['ID', 'Repository', 'Tag', 'CreatedAt'];
const format = (text: string) => formatRows(text, rows, fields);

test('a template of fields, a line a row', () => {
  expect(format('{{.Repository}}:{{ .Tag }}')).toBe('app:1\nlonger/name:2\n');
  expect(format('{{.ID}}\\t{{json .Tag}}')).toBe('a1\t"1"\nb2\t"2"\n');
});

test('json: an object a line', () => {
  for (const text of ['json', '{{json .}}']) {
    expect(
      format(text)
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(rows);
  }
});

test('table: a heading, and columns at the tabs', () => {
  const lines = format('table {{.Repository}}\\t{{.CreatedAt}}').split('\n');
  expect(lines[0]).toMatch(/^REPOSITORY +CREATED AT/);
  expect(lines[1]?.indexOf('now')).toBe(lines[0]?.indexOf('CREATED AT'));
});

test('table: a list has headings of its own', () => {
  const text = formatRows('table {{.ID}}\\t{{.Tag}}', rows, fields, { ID: 'IMAGE ID' });
  expect(text).toBe('IMAGE ID   TAG\na1         1\nb2         2\n');
});

test('a template is whole Go: conditions, functions; a heading has no use for them', () => {
  expect(format('{{if eq .ID "a1"}}{{upper .Tag}}{{else}}-{{end}}')).toBe('1\n-\n');
  expect(format('table {{lower .ID}}\t{{json .Tag}}')).toBe('ID   TAG\na1   "1"\nb2   "2"\n');
});

test('what a template cannot say is refused by name, with no rows, too', () => {
  expect(() => format('{{.Nope}}')).toThrow('there is no field Nope');
  expect(() => formatRows('{{.Nope}}', [], fields)).toThrow('there is no field Nope');
  expect(() => format('{{.ID')).toThrow('not closed');
});
