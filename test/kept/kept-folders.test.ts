import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeptFolders } from '../../src/kept/kept-folders.ts';

let dir: string;
let folders: KeptFolders;
const signal = new AbortController().signal;
const day = 24 * 3600_000;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-kept-'));
  folders = new KeptFolders(dir, { describe: (name) => `folder of ${name}`, keepFor: day });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const filled = (text: string) => ({ fill: async (to: string) => writeFileSync(join(to, 'f'), text) });

test('who claims a folder has it alone: the next gets another instance, a later one the first again', async () => {
  const a = folders.claim({ key: 'key' });
  const b = folders.claim({ key: 'key' });
  expect(await b.data()).not.toBe(await a.data());
  const first = await a.data();
  a.release();
  b.release();
  const c = folders.claim({ key: 'key' });
  expect(await c.data()).toBe(first);
  c.release();
});

test('who takes a folder shares one, or waits for it', async () => {
  const a = await folders.take({ key: 'key' }, { shared: true, signal });
  const b = await folders.take({ key: 'key' }, { shared: true, signal });
  expect(await b.data()).toBe(await a.data());
  await expect(folders.take({ key: 'key' }, { signal: AbortSignal.timeout(60) })).rejects.toMatchObject({
    code: 'canceled',
  });
  const waiting = folders.take({ key: 'key' }, { signal });
  a.release();
  b.release();
  (await waiting).release();
});

test('data is there in full or not at all, and filled once', async () => {
  const held = await folders.take({ key: 'key' }, { shared: true, signal });
  const half = held.data({
    async fill(to) {
      writeFileSync(join(to, 'half'), '');
      throw new Error('no');
    },
  });
  await expect(half).rejects.toThrow('no');
  expect(folders.peek({ key: 'key' })).toBeUndefined();
  const path = await held.data(filled('one'));
  expect(await held.data(filled('two'))).toBe(path);
  expect(readdirSync(path)).toEqual(['f']);
  expect(readdirSync(join(path, '..')).sort()).toEqual(['data', 'lock']);
  held.release();
  expect(folders.peek({ key: 'key' })).toBe(path);
});

test('a list says who uses what; what is used is not removed', async () => {
  const held = folders.claim({ key: 'key', name: 'me' });
  await held.data(filled('x'.repeat(100_000)));
  const [info] = await folders.list();
  expect(info).toMatchObject({ description: 'folder of me', inUse: true });
  expect(info!.size).toBeGreaterThan(100_000);
  expect(info!.lastUsedAt).toBeGreaterThanOrEqual(info!.createdAt);
  expect(await folders.remove(info!.id)).toBe(0);
  held.release();
  expect((await folders.list())[0]?.inUse).toBe(false);
  expect(await folders.remove(info!.id)).toBeGreaterThan(100_000);
  expect(await folders.list()).toEqual([]);
  expect(readdirSync(dir)).toEqual([]);
  expect(await folders.remove('../../etc')).toBe(0);
});

test('another process that holds a folder counts, until it dies', async () => {
  const held = await folders.take({ key: 'key' }, { signal });
  const lock = join(await held.data(), '..', 'lock');
  held.release();
  const other = spawn('sh', ['-c', 'exec 9>>"$0"; flock 9; echo locked; exec sleep 60', lock]);
  try {
    await once(other.stdout, 'data');
    const [info] = await folders.list();
    expect(info!.inUse).toBe(true);
    expect(await folders.remove(info!.id)).toBe(0);
    const waiting = folders.take({ key: 'key' }, { signal });
    other.kill('SIGKILL');
    (await waiting).release();
  } finally {
    other.kill('SIGKILL');
  }
});

test('a sweep removes what was not used for long, and what a killed process was removing', async () => {
  folders.claim({ key: 'old' }).release();
  const held = folders.claim({ key: 'used' });
  mkdirSync(join(dir, 'trash-1'));
  await folders.sweep(Date.now() + day / 2);
  expect(existsSync(join(dir, 'trash-1'))).toBe(false);
  expect(await folders.list()).toHaveLength(2);
  await folders.sweep(Date.now() + 2 * day);
  expect(await folders.list()).toMatchObject([{ description: 'folder of used' }]);
  held.release();
});

test('a folder without its description is still listed and removed', async () => {
  const held = folders.claim({ key: 'key' });
  await held.data();
  held.release();
  const { id } = (await folders.list())[0]!;
  rmSync(join(dir, id, 'about.json'));
  expect(await folders.list()).toMatchObject([{ id, description: `folder of ${id}` }]);
  await folders.remove(id);
  expect(readdirSync(dir)).toEqual([]);
});
