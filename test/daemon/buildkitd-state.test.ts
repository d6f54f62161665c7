/** A root that BuildKit's own buildkitd has used before. */
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Cache } from '../../src/cache/index.ts';
import { setBuildkitdAside } from '../../src/daemon/buildkitd-state.ts';
import { tryLock } from '../../src/linux/index.ts';
import { startTestDaemon } from '../kit/daemon.ts';

let root: string;
const said: string[] = [];
const log = (_level: string, message: string, fields: Record<string, unknown> = {}) =>
  void said.push(`${message} ${fields.folder}`);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'drydock-aside-'));
  said.splice(0);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** The beginning of a bbolt file: the head of a page, the magic number and the version. */
function bolt(name: string): void {
  const page = Buffer.alloc(4096);
  page.writeUInt16LE(4, 8);
  page.writeUInt32LE(0xed0cdaed, 16);
  page.writeUInt32LE(2, 20);
  writeFileSync(join(root, name), page);
}

function used(): void {
  bolt('cache.db');
  bolt('history.db');
  writeFileSync(join(root, 'buildkitd.lock'), '');
  mkdirSync(join(root, 'runc-overlayfs', 'content'), { recursive: true });
  writeFileSync(join(root, 'mine.txt'), 'of the operator');
}

const all = ['buildkitd.lock', 'cache.db', 'history.db', 'runc-overlayfs'];

test('a daemon in its place begins on its folder; all that was its is kept', async () => {
  used();
  const daemon = await startTestDaemon({ root, replacesBuildkitd: true });
  await daemon.stop();
  expect(readdirSync(join(root, 'buildkitd-state')).sort()).toEqual(all);
  expect(readdirSync(join(root, 'buildkitd-state', 'runc-overlayfs'))).toEqual(['content']);
  expect(readdirSync(root)).toEqual(expect.arrayContaining(['cache.db', 'mine.txt']));
  // Our own stays where it is.
  const again = await startTestDaemon({ root, replacesBuildkitd: true });
  await again.stop();
  expect(readdirSync(join(root, 'buildkitd-state')).sort()).toEqual(all);
});

test('a move that was cut off goes on in its folder, and a second state gets one of its own', () => {
  used();
  mkdirSync(join(root, 'buildkitd-state', 'runc-native'), { recursive: true });
  setBuildkitdAside(root, log);
  expect(readdirSync(join(root, 'buildkitd-state')).sort()).toEqual([...all, 'runc-native'].sort());
  used();
  setBuildkitdAside(root, log);
  expect(readdirSync(join(root, 'buildkitd-state-2')).sort()).toEqual(all);
  expect(said).toEqual([
    expect.stringContaining(join(root, 'buildkitd-state')),
    expect.stringContaining(join(root, 'buildkitd-state-2')),
  ]);
});

test('one at work is left alone', () => {
  used();
  const fd = openSync(join(root, 'buildkitd.lock'), 'r');
  try {
    tryLock(fd);
    expect(() => setBuildkitdAside(root, log)).toThrow(`BuildKit's buildkitd is at work in ${root}`);
  } finally {
    closeSync(fd);
  }
  expect(readdirSync(root)).toContain('cache.db');
});

test('other commands say whose the folder is', () => {
  used();
  expect(() => new Cache(root)).toThrow(
    expect.objectContaining({
      code: 'conflict',
      message: expect.stringContaining('cache.db is the database of another program'),
      hint: expect.stringContaining('drydock buildkitd'),
    }),
  );
});
