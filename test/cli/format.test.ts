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

test('what a template cannot say is refused by name', () => {
  expect(() => format('{{.Nope}}')).toThrow('there is no field Nope');
  expect(() => format('{{if .ID}}x{{end}}')).toThrow('{{if .ID}} is not supported');
  expect(() => format('{{.ID | printf}}')).toThrow('is not supported');
  expect(() => format('{{.}}')).toThrow('{{.}} is not supported');
  expect(() => format('{{.ID')).toThrow('not closed');
});
