/** Files that a command writes for its user: what is there already, of whatever kind, is not lost. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { OutputFile, writeOutput } from '../../src/cli/output-file.ts';
import { MNT_DETACH, mount, umount } from '../../src/linux/libc.ts';
import { MS_BIND } from '../kit/mount-flags.ts';

let dir: string;
const at = (name: string) => join(dir, name);
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-output-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('a symlink stays, and the file behind it is replaced when the new one is whole', async () => {
  mkdirSync(at('elsewhere'));
  writeFileSync(at('elsewhere/target'), 'old');
  chmodSync(at('elsewhere/target'), 0o640);
  symlinkSync('elsewhere/target', at('one'));
  symlinkSync('one', at('two'));
  const file = new OutputFile(at('two'));
  const out = await file.open();
  out.end('new');
  await finished(out);
  expect(readFileSync(at('two'), 'utf8')).toBe('old');
  await file.finish();
  expect(readFileSync(at('elsewhere/target'), 'utf8')).toBe('new');
  expect(statSync(at('two')).mode & 0o777).toBe(0o640);
  expect([readlinkSync(at('two')), readlinkSync(at('one'))]).toEqual(['one', 'elsewhere/target']);
  expect(readdirSync(at('elsewhere'))).toEqual(['target']);
});

test('a symlink to nothing makes the file that it names', async () => {
  symlinkSync('folder/later', at('link'));
  await writeOutput(at('link'), 'new');
  expect(readFileSync(at('folder/later'), 'utf8')).toBe('new');
  expect(lstatSync(at('link')).isSymbolicLink()).toBe(true);
});

test('a failed write leaves what was there', async () => {
  writeFileSync(at('kept'), 'old');
  symlinkSync('kept', at('link'));
  const file = new OutputFile(at('link'));
  const out = await file.open();
  out.write('half');
  out.destroy();
  await file.abandon();
  expect(readFileSync(at('kept'), 'utf8')).toBe('old');
  expect(readdirSync(dir).toSorted()).toEqual(['kept', 'link']);
});

test('a device is written into and stays one', async () => {
  // A device of our own: a fault here would destroy the machine's.
  execFileSync('mknod', [at('null'), 'c', '1', '3']);
  symlinkSync('null', at('link'));
  for (const name of ['null', 'link']) await writeOutput(at(name), 'gone');
  expect(lstatSync(at('null')).isCharacterDevice()).toBe(true);
});

test('a FIFO is written into, once somebody reads it; until then the wait can be canceled', async () => {
  execFileSync('mkfifo', [at('pipe')]);
  const abort = new AbortController();
  const waiting = new OutputFile(at('pipe')).open(abort.signal);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
  const writing = writeOutput(at('pipe'), 'x'.repeat(300_000));
  const reader = await open(at('pipe'), 'r');
  expect(await reader.readFile('utf8')).toHaveLength(300_000);
  await writing;
  await reader.close();
  expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
});

test('an open descriptor is written into, though it is a file', async () => {
  const file = await open(at('stdout'), 'w');
  await writeOutput(`/proc/self/fd/${file.fd}`, 'new');
  expect(statSync(at('stdout')).ino).toBe((await file.stat()).ino);
  expect(readFileSync(at('stdout'), 'utf8')).toBe('new');
  await file.close();
});

test('a file that is a mount of its own is written over', async () => {
  for (const name of ['from', 'to']) writeFileSync(at(name), 'a longer old text');
  mount(at('from'), at('to'), '', MS_BIND, '');
  try {
    await writeOutput(at('to'), 'new');
    expect(readFileSync(at('from'), 'utf8')).toBe('new');
  } finally {
    umount(at('to'), MNT_DETACH);
  }
  expect(readdirSync(dir).toSorted()).toEqual(['from', 'to']);
});

test('folders, sockets, block devices and circles of links are refused before anything is written', async () => {
  mkdirSync(at('folder'));
  symlinkSync('b', at('a'));
  symlinkSync('a', at('b'));
  execFileSync('mknod', [at('disk'), 'b', '7', '250']);
  const server = createServer().listen(at('socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  for (const [name, why] of [
    ['folder', 'it is a folder'],
    ['a', 'too many symlinks'],
    ['disk', 'it is a block device'],
    ['socket', 'it is a socket'],
  ] as const) {
    const file = new OutputFile(at(name));
    await expect(file.check()).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining(why),
    });
    await expect(file.open()).rejects.toThrow(why);
  }
  server.close();
});
