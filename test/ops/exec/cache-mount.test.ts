import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Kept, keptUnder } from '../../../src/kept/kept.ts';
import { type CacheMountRequest, takeCacheMount } from '../../../src/ops/exec/cache-mount.ts';

let dir: string;
let caches: Kept['cacheMounts'];
const never = new AbortController().signal;
const take = (request: CacheMountRequest, signal = never) => takeCacheMount(caches, request, signal);
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-cache-mounts-'));
  caches = keptUnder(dir).cacheMounts;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('shared: both have the same folder at once', async () => {
  const [a, b] = await Promise.all([1, 2].map(() => take({ id: 'x', sharing: 'shared' })));
  expect(a!.path).toBe(b!.path);
  a!.release();
  b!.release();
});

test('private: the second gets a folder of its own, a later one the first again', async () => {
  const a = await take({ id: 'x', sharing: 'private' });
  const b = await take({ id: 'x', sharing: 'private' });
  expect(b.path).not.toBe(a.path);
  a.release();
  b.release();
  const c = await take({ id: 'x', sharing: 'private' });
  expect(c.path).toBe(a.path);
  c.release();
});

test('locked: the second waits for the first, and gives up when aborted', async () => {
  const a = await take({ id: 'x', sharing: 'locked' });
  await expect(take({ id: 'x', sharing: 'locked' }, AbortSignal.timeout(60))).rejects.toMatchObject({
    code: 'canceled',
  });
  let got = false;
  const waiting = take({ id: 'x', sharing: 'locked' }).then((b) => {
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
  const { path, release } = await take({ id: 'x', sharing: 'locked' });
  release();
  const lock = join(path, '..', 'lock');
  // flock(1) holds the lock for 0.3 s.
  const other = execFileSync('sh', ['-c', `flock -x ${lock} sleep 0.3 >/dev/null 2>&1 & echo started`]);
  expect(other.toString()).toBe('started\n');
  await new Promise((resolve) => setTimeout(resolve, 100));
  await expect(take({ id: 'x', sharing: 'locked' }, AbortSignal.timeout(60))).rejects.toThrow('canceled');
  (await take({ id: 'x', sharing: 'locked' })).release();
});

test('a seed that fails leaves nothing, and the next try starts afresh', async () => {
  const seed = (fill: (dir: string) => Promise<void>) => ({
    id: 'x',
    sharing: 'shared' as const,
    seed: { key: 'k', fill },
  });
  const broken = take(
    seed(async (to) => {
      writeFileSync(join(to, 'half'), '');
      throw new Error('no');
    }),
  );
  await expect(broken).rejects.toThrow('cannot set up cache mount x');
  const { path, release } = await take(seed(async (to) => writeFileSync(join(to, 'whole'), '')));
  expect(readdirSync(path)).toEqual(['whole']);
  expect(readdirSync(join(path, '..')).sort()).toEqual(['data', 'lock']);
  release();
});

test('list and remove: what is in use stays', async () => {
  const held = await take({ id: '/root/.npm', sharing: 'shared' });
  writeFileSync(join(held.path, 'f'), Buffer.alloc(100_000));
  const [info] = await caches.list();
  expect(info).toMatchObject({ description: 'cache mount /root/.npm', inUse: true });
  expect(info!.size).toBeGreaterThan(100_000);
  expect(await caches.remove(info!.id)).toBe(0);
  expect(existsSync(held.path)).toBe(true);
  held.release();
  expect(await caches.remove(info!.id)).toBeGreaterThan(100_000);
  expect(await caches.list()).toEqual([]);
});
