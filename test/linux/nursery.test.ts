/** Many new files, made in another region of the disk where making them in their own is slow (linux/nursery.ts). */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Nursery } from '../../src/linux/nursery.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-nursery-'));
  mkdirSync(join(dir, 'tree'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Makes files `from` to `to`, each with its number in it. */
function make(nursery: Nursery, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    const fd = nursery.create(join(dir, `tree/f${i}`), 'wx', 0o640);
    writeSync(fd, String(i));
    closeSync(fd);
  }
}

function filesOf(count: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, String(i)]));
}

function found(): Record<string, string> {
  return Object.fromEntries(
    readdirSync(join(dir, 'tree')).map((name) => [name, readFileSync(join(dir, `tree/${name}`), 'utf8')]),
  );
}

const others = () => readdirSync(dir).filter((name) => name !== 'tree');

test('files are made in their own folder as long as that is fast', () => {
  const nursery = new Nursery(dir, { isSlow: () => false, hasRegions: () => true });
  make(nursery, 0, 50);
  expect(others()).toEqual([]);
  expect(found()).toEqual(filesOf(50));
  nursery.close();
});

test('once it is slow, they are made elsewhere, and are where they belong all the same', () => {
  const nursery = new Nursery(dir, { isSlow: () => true, hasRegions: () => true });
  make(nursery, 0, 20);
  expect(others()).toHaveLength(1);
  make(nursery, 20, 300);
  expect(found()).toEqual(filesOf(300));
  const { mode, nlink } = statSync(join(dir, 'tree/f40'));
  expect([mode & 0o777, nlink]).toEqual([0o640, 1]);
  nursery.close();
  expect(others()).toEqual([]);
  expect(found()).toEqual(filesOf(300));
});

test('a name that is taken is refused, wherever the file is made', () => {
  const nursery = new Nursery(dir, { isSlow: () => true, hasRegions: () => true });
  make(nursery, 0, 12);
  expect(others()).toHaveLength(1);
  expect(() => nursery.create(join(dir, 'tree/f3'), 'wx', 0o644)).toThrow(/EEXIST/);
  expect(() => nursery.create(join(dir, 'none/f3'), 'wx', 0o644)).toThrow(/ENOENT/);
  make(nursery, 12, 14);
  expect(found()).toEqual(filesOf(14));
  nursery.close();
});

test('where there are no regions, or no room for a folder, all are made where they belong', () => {
  const flat = new Nursery(dir, { isSlow: () => true, hasRegions: () => false });
  make(flat, 0, 20);
  const homeless = new Nursery(join(dir, 'none'), { isSlow: () => true, hasRegions: () => true });
  make(homeless, 20, 40);
  expect(others()).toEqual([]);
  expect(found()).toEqual(filesOf(40));
  expect(existsSync(join(dir, 'none'))).toBe(false);
});
