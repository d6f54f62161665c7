import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CacheMounts } from '../../../src/ops/exec/cache-mounts.ts';

let dir: string;
let caches: CacheMounts;
const signal = new AbortController().signal;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-cache-mounts-'));
  caches = new CacheMounts(dir);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('shared: both have the same folder at once', async () => {
  const [a, b] = await Promise.all([1, 2].map(() => caches.acquire({ id: 'x', sharing: 'shared' }, signal)));
  expect(a!.path).toBe(b!.path);
  a!.release();
  b!.release();
});

test('private: the second gets a folder of its own, a later one the first again', async () => {
  const a = await caches.acquire({ id: 'x', sharing: 'private' }, signal);
  const b = await caches.acquire({ id: 'x', sharing: 'private' }, signal);
  expect(b.path).not.toBe(a.path);
  a.release();
  b.release();
  const c = await caches.acquire({ id: 'x', sharing: 'private' }, signal);
  expect(c.path).toBe(a.path);
  c.release();
});

test('locked: the second waits for the first, and gives up when aborted', async () => {
  const a = await caches.acquire({ id: 'x', sharing: 'locked' }, signal);
  await expect(caches.acquire({ id: 'x', sharing: 'locked' }, AbortSignal.timeout(60))).rejects.toMatchObject(
    {
      code: 'canceled',
    },
  );
  let got = false;
  const waiting = caches.acquire({ id: 'x', sharing: 'locked' }, signal).then((b) => {
    got = true;
    return b;
  });
  await new Promise((resolve) => setTimeout(resolve, 80));
  expect(got).toBe(false);
  a.release();
  const b = await waiting;
  expect(b.path).toBe(a.path);
  b.release();
});

test('a lock held by another process counts, and goes when it dies', async () => {
  const { path, release } = await caches.acquire({ id: 'x', sharing: 'locked' }, signal);
  release();
  const lock = join(path, '..', 'lock');
  // flock(1) holds the lock for 0.3 s.
  const other = execFileSync('sh', ['-c', `flock -x ${lock} sleep 0.3 >/dev/null 2>&1 & echo started`]);
  expect(other.toString()).toBe('started\n');
  await new Promise((resolve) => setTimeout(resolve, 100));
  await expect(caches.acquire({ id: 'x', sharing: 'locked' }, AbortSignal.timeout(60))).rejects.toThrow(
    'canceled',
  );
  (await caches.acquire({ id: 'x', sharing: 'locked' }, signal)).release();
});

test('a seed that fails leaves nothing, and the next try starts afresh', async () => {
  const seed = (fill: (dir: string) => Promise<void>) => ({
    id: 'x',
    sharing: 'shared' as const,
    seed: { key: 'k', fill },
  });
  const broken = caches.acquire(
    seed(async (to) => {
      writeFileSync(join(to, 'half'), '');
      throw new Error('no');
    }),
    signal,
  );
  await expect(broken).rejects.toThrow('cannot set up cache mount x');
  const { path, release } = await caches.acquire(
    seed(async (to) => writeFileSync(join(to, 'whole'), '')),
    signal,
  );
  expect(readdirSync(path)).toEqual(['whole']);
  expect(readdirSync(join(path, '..')).sort()).toEqual(['data', 'lock']);
  release();
});

test('list and remove: what is in use stays', async () => {
  const held = await caches.acquire({ id: 'x', sharing: 'shared' }, signal);
  writeFileSync(join(held.path, 'f'), Buffer.alloc(100_000));
  const [info] = await caches.list();
  expect(info).toMatchObject({ id: 'x', inUse: true });
  expect(info!.size).toBeGreaterThan(100_000);
  expect(info!.lastUsedAt).toBeGreaterThanOrEqual(info!.createdAt - 1000);
  expect(await caches.remove('x')).toBe(0);
  expect(existsSync(held.path)).toBe(true);
  held.release();
  expect(await caches.remove('x')).toBeGreaterThan(100_000);
  expect(await caches.list()).toEqual([]);
  expect(readdirSync(dir)).toEqual([]);
});
