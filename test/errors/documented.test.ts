/** docs/troubleshooting.md names every kind of error and every hop that there is, and no other. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { httpStatus } from '../../src/api/docker/http/errors.ts';
import { DrydockError, type ErrorCode } from '../../src/errors/error.ts';

const root = join(import.meta.dirname, '../..');
const types = readFileSync(join(root, 'src/errors/error.ts'), 'utf8');
const docs = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8');

/** Members of a union of texts. */
function members(name: string): string[] {
  const text = new RegExp(`export type ${name} =([^;]*);`).exec(types)?.[1] ?? '';
  return [...text.matchAll(/'([a-z-]+)'/g)].map(([, member]) => member as string);
}

/** Rows of the table under a heading, cells trimmed. */
function table(heading: string): string[][] {
  const section = docs.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const names = (rows: string[][]) => rows.flatMap(([first = '']) => first.split(', '));

test('each code, with its HTTP status, what it means and what to do', () => {
  const rows = table('Error codes');
  expect(names(rows).toSorted()).toEqual(members('ErrorCode').toSorted());
  for (const [codes = '', status, means, remedy] of rows) {
    for (const code of codes.split(', ')) {
      expect([code, status]).toEqual([
        code,
        String(httpStatus(new DrydockError('', { code: code as ErrorCode }))),
      ]);
    }
    expect(means).not.toBe('');
    expect(remedy).not.toBe('');
  }
});

test('each hop, and what it is about', () => {
  const rows = table('Hops');
  expect(names(rows).toSorted()).toEqual(members('Hop').toSorted());
  for (const [, about] of rows) expect(about).not.toBe('');
});

test('no code is documented that nothing raises', () => {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.startsWith('pb/'))
    .map((path) => readFileSync(join(root, 'src', path), 'utf8'))
    .join('\n');
  for (const code of members('ErrorCode')) {
    expect(sources).toMatch(new RegExp(`(?:\\b(?:fail|apiError|bad)\\(\\s*|code: |\\? |: )'${code}'`));
  }
});
