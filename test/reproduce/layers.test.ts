/** What differs between two layers, told by file, attribute and byte. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { compareLayers } from '../../src/reproduce/layers.ts';
import { type TestFile, tarOf } from '../kit/images.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-reproduce-test-'));
afterAll(() => rmSync(dir, { recursive: true }));

let count = 0;
const layer = (files: Record<string, TestFile>) => {
  const path = join(dir, `layer${++count}`);
  writeFileSync(path, gzipSync(tarOf(files)));
  return path;
};
/** The differences as `PATH WHAT FIRST | SECOND`. */
const compare = async (a: Record<string, TestFile>, b: Record<string, TestFile>, most = 100) => {
  const { differences, count: all } = await compareLayers(layer(a), layer(b), most);
  return { all, told: differences.map((d) => `${d.path} ${d.what} ${d.first} | ${d.second}`) };
};

test('equal files are equal, in whatever order', async () => {
  const [a, b, c] = [{ data: 'a' }, { data: 'b' }, { data: 'c' }];
  expect((await compare({ a, b, c }, { a, b, c })).told).toEqual([]);
  expect((await compare({ a, b, c }, { c, a, b })).told).toEqual([]);
  expect((await compare({}, {})).told).toEqual([]);
});

test('attributes: mode, owner, link, type', async () => {
  const { told } = await compare(
    { m: { mode: 0o4755 }, o: { uid: 1, gid: 2 }, l: { link: 'x' }, t: { dir: true, mode: 0o755 } },
    { m: { mode: 0o755 }, o: { uid: 1, gid: 3 }, l: { link: 'y' }, t: { data: '', mode: 0o755 } },
  );
  expect(told).toEqual(['m mode 04755 | 0755', 'o owner 1:2 | 1:3', 'l link x | y', 't type dir | file']);
});

test('bytes: the first that differs, wherever it is, and an end that comes early', async () => {
  const large = Buffer.alloc(3 << 20, 'x');
  const other = Buffer.from(large);
  other.write('never', 2_000_000);
  const { told } = await compare({ big: large, after: 'same' }, { big: other, after: 'same' });
  expect(told).toEqual([
    `big bytes at byte 2000000: ${'78'.repeat(16)} "${'x'.repeat(16)}" | at byte 2000000: 6e65766572${'78'.repeat(11)} "never${'x'.repeat(11)}"`,
  ]);
  expect((await compare({ f: 'abc' }, { f: 'abcd' })).told).toEqual([
    'f size 3 | 4',
    'f bytes ends at byte 3 | at byte 3: 64 "d"',
  ]);
});

test('files that one side lacks do not hide what differs behind them', async () => {
  const { told } = await compare({ a: '1', c: '3', d: '4' }, { a: '1', b: '2', c: 'x', d: '5' });
  expect(told.filter((line) => line.includes(' file '))).toEqual(['b file missing | there']);
  expect(told.some((line) => line.startsWith('c contents sha256:'))).toBe(true);
  expect(told).toContain('d bytes at byte 0: 34 "4" | at byte 0: 35 "5"');
});

test('no more are told than wanted, and all are counted', async () => {
  const files = (text: string) => Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, text]));
  const { told, all } = await compare(files('a'), files('b'), 7);
  expect(told).toHaveLength(7);
  expect(all).toBe(50);
});

test('an archive that is cut is an error, not a difference', async () => {
  const whole = layer({ f: 'x'.repeat(5000) });
  const cut = join(dir, 'cut');
  writeFileSync(cut, tarOf({ f: 'x'.repeat(5000) }).subarray(0, 2000));
  await expect(compareLayers(whole, cut, 5)).rejects.toMatchObject({ code: 'corrupt' });
});
