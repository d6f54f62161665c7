/** The layers of an image are unpacked side by side; the tree is the one that they make one after the other. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { openView } from '../../src/fs/open.ts';
import type { FsView } from '../../src/fs/view.ts';
import { imageOf, putImage, type TestFile, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());

const layers: Record<string, TestFile>[] = [
  {
    etc: { dir: true, mode: 0o750, uid: 5 },
    'etc/gone': 'x',
    usr: { dir: true },
    'usr/lib': { dir: true },
    'usr/lib/x': { data: 'x', mode: 0o755 },
    lib: { link: 'usr/lib' },
    d: { dir: true },
    'd/old': 'old',
  },
  // The folder of this file is only below, and so is what the link leads to.
  { 'etc/a': 'a' },
  { copy: { hard: 'usr/lib/x' } },
  { 'lib/y': 'through a link that is below' },
  // These stand alone.
  {
    etc: { dir: true, mode: 0o750, uid: 5 },
    'etc/.wh.gone': '',
    d: { dir: true },
    'd/.wh..wh..opq': '',
    'd/new': 'new',
  },
  { '.': { dir: true, mode: 0o711, uid: 7 }, z: 'z' },
  { '.wh..wh..opq': '', only: 'only', 'sub/file': 'in a folder that no layer describes' },
  { only: 'again', big: 'b'.repeat(300_000) },
];

/** Paths with type, mode, owner, time and contents. */
function dump(view: FsView, dir = '/', out: Record<string, string> = {}): Record<string, string> {
  const root = view.lstat('/');
  out['/'] = `${root?.mode.toString(8)} ${root?.uid}`;
  for (const entry of view.readdir(dir)) {
    const { path, type, mode, uid, link = '', mtimeNs } = entry;
    const text = type === 'file' ? readFileSync(entry.hostPath, 'latin1').slice(0, 40) : '';
    out[path] = `${type} ${mode.toString(8)} ${uid} ${mtimeNs} ${link}${text}`;
    if (type === 'dir') dump(view, path, out);
  }
  return out;
}

onStores('layers that are unpacked side by side', (store) => {
  test('make the same tree as one after the other, and leave nothing else', async () => {
    const image = imageOf(layers.map(tarOf));
    const all = image.layers.map((descriptor, i) => ({
      descriptor,
      diffId: image.config.rootfs.diff_ids[i]!,
    }));
    const source = await putImage(registry.host, `ahead-${store.kind}`, image);
    const lease = 'test';
    const trees: Record<string, string>[] = [];
    for (const firsts of [[all.length], all.map((_, i) => i + 1)]) {
      const root = mkdtempSync(join(tmpdir(), 'drydock-ahead-'));
      const engine = await openEngine({ root, ...store.options() });
      try {
        await engine.store.leases.create(lease);
        const done: string[] = [];
        const report = (id: string, status: { done?: boolean }) => status.done && done.push(id);
        for (const n of firsts) await engine.refs.image(source, all.slice(0, n)).snapshot({ lease, report });
        const ref = engine.refs.image(source, all);
        trees.push(dump(openView(await ref.view({ lease }))));
        for (const { digest } of image.layers) expect(done).toContain(`extracting ${digest}`);
        const active = (await engine.store.snapshots.list()).filter(({ kind }) => kind === 'active');
        expect(active).toEqual([]);
      } finally {
        await engine.close();
        rmSync(root, { recursive: true, force: true });
      }
    }
    const [together, apart] = trees;
    expect(together).toEqual(apart);
    expect(together).toMatchObject({
      '/lib': expect.stringContaining('usr/lib'),
      '/usr/lib/y': expect.anything(),
    });
    for (const path of ['/etc/gone', '/d/old']) expect(together).not.toHaveProperty([path]);
  });

  test('stop when one of them is broken, and leave nothing', async () => {
    const image = imageOf(layers.map(tarOf));
    const all = image.layers.map((descriptor, i) => ({
      descriptor,
      diffId: image.config.rootfs.diff_ids[i]!,
    }));
    const source = await putImage(registry.host, `ahead-broken-${store.kind}`, image);
    all[5] = { ...all[5]!, diffId: all[0]!.diffId };
    const root = mkdtempSync(join(tmpdir(), 'drydock-ahead-'));
    const engine = await openEngine({ root, ...store.options() });
    try {
      await engine.store.leases.create('test');
      const made = engine.refs.image(source, all).snapshot({ lease: 'test' });
      await expect(made).rejects.toMatchObject({ code: 'corrupt' });
      expect((await engine.store.snapshots.list()).filter(({ kind }) => kind === 'active')).toEqual([]);
    } finally {
      await engine.close();
      rmSync(root, { recursive: true, force: true });
    }
  });
});
