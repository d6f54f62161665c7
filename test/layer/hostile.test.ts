import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { LayerApplier } from '../../src/layer/apply.ts';
import { TarParser } from '../../src/tar/parser.ts';
import { closePool } from '../../src/workers/pool.ts';
import { withStore } from './kit.ts';
import { type Spec, see, tar, unpack } from './tars.ts';

afterAll(closePool);

describe('hostile layers', () => {
  test.each<[string, Spec[], RegExp]>([
    ['a path that climbs', [{ path: '../../x', body: 'x' }], /climbs out/],
    ['a path that climbs in its middle', [{ path: 'a/../../x', body: 'x' }], /climbs out/],
    ['a link target that climbs', [{ path: 'x', type: 'hardlink', link: '../etc/passwd' }], /climbs out/],
    ['a link to what is not there', [{ path: 'x', type: 'hardlink', link: 'nowhere' }], /does not exist/],
    [
      'a link to a folder',
      [
        { path: 'd', type: 'dir' },
        { path: 'x', type: 'hardlink', link: 'd' },
      ],
      /is a folder/,
    ],
    [
      'files beneath a file',
      [
        { path: 'f', body: 'f' },
        { path: 'f/x', body: 'x' },
      ],
      /not a folder/,
    ],
    [
      'links in a circle',
      [{ path: 'a', type: 'symlink', link: 'b' }, { path: 'b', type: 'symlink', link: 'a' }, { path: 'a/x' }],
      /circle/,
    ],
  ])('%s is refused', (_, specs, message) =>
    withStore('overlayfs', async (store) => {
      await expect(unpack(store, undefined, tar(...specs))).rejects.toMatchObject({
        code: 'corrupt',
        hop: 'store',
        message: expect.stringMatching(message),
      });
    }),
  );

  test('a name too long is refused before anything is written', () =>
    withStore('overlayfs', async (store) => {
      const long = tar({ path: 'n'.repeat(300), body: 'x' });
      await expect(unpack(store, undefined, long)).rejects.toMatchObject({
        code: 'invalid',
        hop: 'store',
        message: expect.stringContaining('255'),
      });
    }));

  test('links of the archive lead nowhere but into the layer', () =>
    withStore('overlayfs', async (store) => {
      const key = await unpack(
        store,
        undefined,
        tar(
          { path: 'out', type: 'symlink', link: '/../../../../tmp' },
          { path: 'out/drydock-escaped', body: 'x' },
          { path: 'up', type: 'symlink', link: '../../..' },
          { path: 'up/drydock-escaped', body: 'x' },
          { path: 'self', type: 'symlink', link: '/proc/self/root/tmp' },
          { path: 'self/drydock-escaped', body: 'x' },
        ),
      );
      expect(existsSync('/tmp/drydock-escaped')).toBe(false);
      expect(existsSync('/drydock-escaped')).toBe(false);
      await see(store, key, (root) => {
        for (const path of ['tmp', '.', 'proc/self/root/tmp']) {
          expect(readdirSync(join(root, path))).toContain('drydock-escaped');
        }
      });
    }));

  test('any mix of entries stays inside the folder', () => {
    const outer = mkdtempSync(join(tmpdir(), 'drydock-hostile-'));
    try {
      const name = fc.constantFrom('a', 'b', 'c', '..', '.wh.a', '.wh..wh..opq', '.wh.', '.wh...');
      const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
      const target = fc.oneof(
        path,
        path.map((p) => `/${p}`),
        fc.constantFrom('/', '..', '../..', `${outer}/canary`),
      );
      const spec = fc.record({
        path,
        type: fc.constantFrom(
          'file' as const,
          'dir' as const,
          'symlink' as const,
          'symlink' as const,
          'hardlink' as const,
        ),
        link: target,
      });
      let round = 0;
      fc.assert(
        fc.property(fc.array(spec, { minLength: 1, maxLength: 14 }), fc.boolean(), (specs, tree) => {
          const box = join(outer, `box-${++round}`);
          const layer = join(box, 'l/layer');
          mkdirSync(layer, { recursive: true });
          writeFileSync(join(box, 'canary'), 'alive');
          symlinkSync('canary', join(box, 'l/link'));
          const applier = new LayerApplier(layer, { form: tree ? 'tree' : 'overlay' });
          const parser = new TarParser(applier, { hop: 'store' });
          for (const one of specs) {
            const needsLink = one.type === 'symlink' || one.type === 'hardlink';
            const bytes = tar({
              ...one,
              link: needsLink ? one.link : undefined,
              body: one.type === 'file' ? 'evil' : '',
            });
            try {
              parser.push(bytes.subarray(0, bytes.length - 1024));
            } catch (err) {
              expect(err).toMatchObject({ name: 'DrydockError', code: 'corrupt' });
              break;
            }
          }
          applier.finish();
          applier.abort();
          expect(readdirSync(box).sort()).toEqual(['canary', 'l']);
          expect(readdirSync(join(box, 'l')).sort()).toEqual(['layer', 'link']);
          expect(readFileSync(join(box, 'canary'), 'utf8')).toBe('alive');
          expect(statSync(join(box, 'canary')).nlink).toBe(1);
          rmSync(box, { recursive: true });
        }),
        { numRuns: 400 },
      );
    } finally {
      rmSync(outer, { recursive: true, force: true });
    }
  });
});
