/** Several processes with one root open, and processes that are killed. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { specOfMounts } from '../../src/fs/view.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/types.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import { unmountBelow } from '../../src/store/local/run.ts';
import type { Store } from '../../src/store/store.ts';
import { closePool } from '../../src/workers/pool.ts';
import { type Child, startChild } from './children/spawn.ts';

let root: string;
const children: Child[] = [];
const stores: Store[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'drydock-store-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.process.kill('SIGKILL');
  for (const store of stores.splice(0)) await store.close();
  unmountBelow(root);
  rmSync(root, { recursive: true, force: true });
});
afterAll(closePool);

function start(script: string, ...args: string[]): Child {
  const child = startChild(script, root, ...args);
  children.push(child);
  return child;
}

async function open(): Promise<Store> {
  const store = await openLocalStore(root);
  stores.push(store);
  return store;
}

const keys = async (store: Store) => (await store.snapshots.list()).map((info) => info.key).sort();
const folder = (name: string) => (existsSync(join(root, name)) ? readdirSync(join(root, name)) : []);
const mountsBelow = (dir: string) => readFileSync('/proc/self/mountinfo', 'utf8').includes(dir);

describe('two processes', () => {
  test("what another process's lease holds stays until it ends", async () => {
    const child = start('holder.ts', 'theirs');
    await child.said('ready');
    const store = await open();
    expect(await store.gc()).toEqual({ blobs: [], snapshots: [], reclaimed: 0 });
    expect(await keys(store)).toEqual(['theirs', 'theirs-active']);
    await expect(store.leases.create('lease-theirs')).rejects.toMatchObject({ code: 'conflict' });
    await child.end();
    // An orderly end gives up the leases and removes what was not finished; the rest is for the next gc.
    expect(folder('ingest')).toEqual([]);
    expect(folder('run')).toHaveLength(1);
    expect(await keys(store)).toEqual(['theirs']);
    expect(await store.gc()).toMatchObject({ blobs: [digestOf('theirs')], snapshots: ['theirs'] });
  });

  test("another process's view forbids removal, its writer forbids a second one", async () => {
    const child = start('holder.ts', 'theirs');
    await child.said('ready');
    const store = await open();
    await store.leases.create('mine');
    await store.snapshots.remove('theirs-active');
    await expect(store.snapshots.remove('theirs')).rejects.toMatchObject({ code: 'conflict' });
    await expect(store.content.writer('pull', { lease: 'mine' })).rejects.toMatchObject({ code: 'conflict' });
    await child.kill();
    // The killed process's claims are given up as soon as someone asks.
    const writer = await store.content.writer('pull', { lease: 'mine' });
    expect(writer.offset).toBe(0);
    await writer.abort();
    await store.gc();
    expect(await keys(store)).toEqual([]);
  });

  test('a killed process leaves nothing past the next opening, and its mounts are not reached through', async () => {
    const keeper = await open();
    const child = start('holder.ts', 'theirs');
    await child.said('ready');
    await keeper.leases.create('keep', { pinned: true });
    await keeper.leases.add('keep', { type: 'snapshot', id: 'theirs' });
    await child.kill();
    expect(mountsBelow(join(root, 'run'))).toBe(true);
    const store = await open();
    expect(mountsBelow(join(root, 'run'))).toBe(false);
    expect(await keys(store)).toEqual(['theirs']);
    expect(await store.content.list()).toEqual([]);
    expect((await store.leases.list()).map(({ id }) => id)).toEqual(['keep']);
    expect(folder('ingest')).toEqual([]);
    const view = await store.snapshots.view('theirs');
    const spec = specOfMounts(view.mounts);
    const dir = spec.kind === 'layers' ? spec.dirs[0]! : '';
    await view.release();
    for (const each of stores.splice(0)) await each.close();
    expect(readFileSync(join(dir, 'file'), 'utf8')).toBe('theirs');
    expect(folder('run')).toEqual([]);
  });

  test('processes may make and open a store at the same moment', async () => {
    const names = ['a', 'b', 'c', 'd'];
    const all = names.map((name) => start('churn.ts', name));
    await Promise.all(all.map((child, i) => child.said(`+ ${names[i]}:0 ${names[i]}-0-2`)));
    for (const child of all) await child.kill();
  });

  test('collecting never takes what another process is just making', async () => {
    const child = start('churn.ts', 'maker');
    const store = await open();
    await child.said('ready');
    // The maker fails, and says why, when something that it made and holds is gone.
    const promised = new Map<string, string>();
    const until = Date.now() + 30_000;
    for (let rounds = 0; promised.size < 12 || rounds < 50; rounds++) {
      expect(Date.now()).toBeLessThan(until);
      await store.gc();
      await new Promise((resolve) => setTimeout(resolve, 3));
      note(child.lines(), promised);
    }
    await child.kill();
    note(child.lines(), promised);
    await checkPromises(store, promised);
  });

  test('nothing is ever seen made but not yet held', async () => {
    await (await openLocalStore(root)).close();
    const child = start('churn.ts', 'maker', 'keep');
    await child.said('ready');
    const db = new DatabaseSync(join(root, 'store.db'), { readOnly: true });
    const loose = db.prepare(`
      SELECT digest AS id FROM blobs WHERE digest NOT IN (SELECT id FROM held WHERE type = 'blob')
      UNION ALL SELECT key FROM snapshots WHERE key NOT IN (SELECT id FROM held WHERE type = 'snapshot')`);
    const until = Date.now() + 30_000;
    for (let looks = 0; child.lines().length < 12; looks++) {
      expect(Date.now()).toBeLessThan(until);
      expect(loose.all()).toEqual([]);
      if (looks % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    db.close();
    await child.kill();
  });
});

/** What was promised in words that got through. A deletion that was announced may or may not have happened. */
function note(lines: string[], promised: Map<string, string>): void {
  for (const line of lines) {
    const [sign, image = '', snapshot = ''] = line.split(' ');
    if (sign === '+') promised.set(image, snapshot);
    if (sign === '-') promised.delete(image);
  }
}

/** Every named image is there, with all that its labels keep. */
async function checkPromises(store: Store, promised: Map<string, string>): Promise<void> {
  for (const [name, snapshot] of promised) {
    const image = await store.images.get(name);
    expect(image, name).toBeDefined();
    expect((await store.snapshots.stat(snapshot))?.kind, snapshot).toBe('committed');
    const view = await store.snapshots.view(snapshot);
    const spec = specOfMounts(view.mounts);
    await view.release();
    for (let depth = 0; depth < 3; depth++) {
      const dir = spec.kind === 'layers' ? spec.dirs.find((each) => existsSync(join(each, `d${depth}`))) : '';
      expect(readFileSync(join(dir ?? '', `d${depth}`, 'f'), 'utf8')).toBe(
        snapshot.replace(/2$/, String(depth)),
      );
    }
    const manifest = JSON.parse((await store.content.bytes(image!.target.digest)).toString()) as {
      children: Descriptor[];
    };
    for (const child of manifest.children) {
      expect(await store.content.info(child.digest), `${name}: ${child.digest}`).toBeDefined();
    }
  }
}

describe('kill -9', () => {
  test.each([
    ['overlayfs', 8],
    ['native', 4],
  ] as const)(
    'at any moment leaves a store (%s) with all that was promised and nothing else',
    async (snapshotter, rounds) => {
      await (await openLocalStore(root, { snapshotter })).close();
      const promised = new Map<string, string>();
      for (let round = 0; round < rounds; round++) {
        // Every fourth pair is killed while it opens the store and sweeps what the killed ones before it left.
        const opening = round % 4 === 3;
        const pair = [start('churn.ts', `r${round}a`), start('churn.ts', `r${round}b`)];
        await pair[0]!.said(opening ? 'started' : 'ready');
        if (round % 2 === 0) await pair[1]!.said(`+ r${round}b:0 r${round}b-0-2`);
        for (const child of pair) {
          await new Promise((resolve) => setTimeout(resolve, Math.random() * (opening ? 15 : 150)));
          await child.kill();
          note(child.lines(), promised);
        }
        children.length = 0;
        const store = await openLocalStore(root);
        try {
          await check(store, promised);
        } finally {
          await store.close();
        }
        expect(folder('run'), 'run folders').toEqual([]);
      }
      expect(promised.size).toBeGreaterThanOrEqual(rounds / 2);
    },
  );

  async function check(store: Store, promised: Map<string, string>): Promise<void> {
    expect((await store.verify()).problems).toEqual([]);
    await checkPromises(store, promised);
    // Nothing else: no leases, nothing active, nothing to collect, no file or folder without a row.
    expect(await store.leases.list()).toEqual([]);
    expect((await store.snapshots.list()).filter((info) => info.kind === 'active')).toEqual([]);
    expect(await store.gc()).toEqual({ blobs: [], snapshots: [], reclaimed: 0 });
    expect(folder('snapshots')).toHaveLength((await keys(store)).length);
    expect(folder('blobs/sha256').flatMap((name) => folder(`blobs/sha256/${name}`))).toHaveLength(
      (await store.content.list()).length,
    );
  }
});
