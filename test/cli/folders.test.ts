/** The folders that builds were given, as the client's side notes them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { foldersOf, noteFolders } from '../../src/cli/history/folders.ts';

const dir = mkdtempSync(join(tmpdir(), 'folders-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('what was noted last of a build is found, whatever its names have in them', () => {
  const root = join(dir, 'new/root');
  expect(foldersOf(root, 'none')).toEqual({});
  noteFolders(root, 'a', {});
  expect(foldersOf(root, 'a')).toEqual({});
  const odd = { context: '/a\nb "c" \udce9', 'context:x': '/y' };
  noteFolders(root, 'a', { context: '/old' });
  noteFolders(root, 'a', odd);
  noteFolders(root, 'ab', { context: '/other' });
  expect(foldersOf(root, 'a')).toEqual(odd);
  expect(statSync(join(root, 'folders.jsonl')).mode & 0o777).toBe(0o600);
});

test('the file does not grow for ever: the newest are kept', () => {
  const root = join(dir, 'long');
  for (let i = 0; i < 9000; i++) noteFolders(root, `ref-${i}`, { context: '/'.padEnd(100, 'x') });
  expect(statSync(join(root, 'folders.jsonl')).size).toBeLessThanOrEqual(512 << 10);
  expect(foldersOf(root, 'ref-0')).toEqual({});
  expect(foldersOf(root, 'ref-8999')).toEqual({ context: '/'.padEnd(100, 'x') });
  expect(readdirSync(root)).toEqual(['folders.jsonl']);
});

test('what cannot be written or read is no failure', () => {
  const root = join(dir, 'file');
  writeFileSync(root, '');
  noteFolders(root, 'a', { context: '/x' });
  expect(foldersOf(root, 'a')).toEqual({});
  const broken = join(dir, 'broken');
  noteFolders(broken, 'b', { context: '/x' });
  writeFileSync(
    join(broken, 'folders.jsonl'),
    `${readFileSync(join(broken, 'folders.jsonl'), 'utf8')}["c",{`,
  );
  expect(foldersOf(broken, 'c')).toEqual({});
  expect(foldersOf(broken, 'b')).toEqual({ context: '/x' });
});
