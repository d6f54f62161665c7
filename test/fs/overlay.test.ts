/**
 * The property everything stands on: what our views and file actions make of layer folders is what the kernel's
 * overlayfs makes of them.
 */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DrydockError } from '../../src/errors/error.ts';
import type { FileActionSpec } from '../../src/fs/actions.ts';
import { openView } from '../../src/fs/open.ts';
import { seed } from '../../src/fs/seed.ts';
import { withMounted } from '../kit/mounted.ts';
import { build, copy, ctx, kernelLines, layers, lines, plant, scratch } from './trees.ts';

const name = fc.constantFrom('a', 'b', 'c');
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join('/')}`);

interface Step {
  do: 'mkdir' | 'write' | 'rm' | 'link' | 'move';
  path: string;
  /** Of links and moves. */
  to: string;
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom('mkdir', 'write', 'rm', 'link', 'move'),
  path,
  to: path,
});

/** What a container might do; impossible steps are passed over. */
function run(root: string, steps: Step[]): void {
  for (const one of steps) {
    const at = join(root, one.path);
    try {
      if (one.do === 'mkdir') mkdirSync(at, { recursive: true });
      else if (one.do === 'write') writeFileSync(at, one.path);
      else if (one.do === 'rm') rmSync(at, { recursive: true });
      else if (one.do === 'link') symlinkSync(one.to, at);
      else renameSync(at, join(root, one.to));
    } catch {}
  }
}

test('a view of layers that containers wrote is what the kernel shows', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { maxLength: 8 }), { minLength: 1, maxLength: 3 }),
      async (rounds) => {
        using tmp = scratch();
        const dirs = [plant(tmp.path('base'), { 'a/b/c': '1', 'b/a': '2', c: '-> a' })];
        for (const [i, steps] of rounds.entries()) {
          const [upper, work] = [tmp.path(`up${i}`), tmp.path(`work${i}`)];
          mkdirSync(upper);
          mkdirSync(work);
          const options = [`lowerdir=${dirs.join(':')}`, `upperdir=${upper}`, `workdir=${work}`];
          const shown = await withMounted([{ type: 'overlay', source: 'overlay', options }], (at) => {
            run(at, steps);
            return lines(openView(layers(at)), { times: true });
          });
          dirs.unshift(upper);
          expect(lines(openView(layers(...dirs)), { times: true })).toEqual(shown);
        }
      },
    ),
    { numRuns: 60 },
  );
});

const source = { 'a/b': 'src', 'b/c/a': 'src', c: 'src', 'l/x': 'src' };

function action(from: string): fc.Arbitrary<FileActionSpec> {
  const src = fc.constantFrom('/', '/a', '/b', '/c', '/*', '/b/*');
  return fc.oneof(
    path.map(
      (at): FileActionSpec => ({ kind: 'mkdir', path: at, mode: 0o755, makeParents: true, timestampNs: 9n }),
    ),
    path.map((at): FileActionSpec => ({ kind: 'mkfile', path: at, mode: 0o644, data: Buffer.from(at) })),
    path.map((at): FileActionSpec => ({ kind: 'rm', path: at, allowNotFound: true, allowWildcard: false })),
    fc
      .tuple(path, path)
      .map(([newpath, oldpath]): FileActionSpec => ({ kind: 'symlink', oldpath, newpath, timestampNs: 9n })),
    fc
      .tuple(src, path, fc.boolean(), fc.boolean())
      .map(([what, dest, slash, replace]) =>
        copy(layers(from), what, slash ? `${dest}/` : dest, { alwaysReplaceExistingDestPaths: replace }),
      ),
  );
}

/** Applies one action after the other; what one refuses is part of the outcome. */
async function applyAll(upper: string, lowers: string[], actions: FileActionSpec[]): Promise<string[]> {
  const refused: string[] = [];
  for (const one of actions) {
    await build(upper, lowers, [one]).catch((err: unknown) => {
      if (!(err instanceof DrydockError) || err.code === 'internal') throw err;
      refused.push(err.message);
    });
  }
  return refused;
}

test('actions on a layer above others do what they would do on a plain folder, and the kernel agrees', async () => {
  using outer = scratch();
  const from = plant(outer.path('src'), source);
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 6 }),
      fc.array(action(from), { minLength: 1, maxLength: 8 }),
      async (steps, actions) => {
        using tmp = scratch();
        const base = plant(tmp.path('base'), { 'a/b/c': '1', 'b/a': '2', 'c/c': '3' });
        const [middle, work] = [tmp.path('mid'), tmp.path('work')];
        mkdirSync(middle);
        mkdirSync(work);
        const options = [`lowerdir=${base}`, `upperdir=${middle}`, `workdir=${work}`];
        await withMounted([{ type: 'overlay', source: 'overlay', options }], (at) => run(at, steps));
        mkdirSync(tmp.path('flat'));
        seed({ spec: layers(middle, base), dest: tmp.path('flat') }, ctx);
        const upper = tmp.path('up');
        const refused = await applyAll(upper, [middle, base], actions);
        expect(refused).toEqual(await applyAll(tmp.path('flat'), [], actions));
        const ours = lines(openView(layers(upper, middle, base)));
        expect(ours).toEqual(await kernelLines([upper, middle, base]));
        expect(ours).toEqual(lines(openView(layers(tmp.path('flat')))));
        if (refused.length > 0) return;
        // All in one go: what the target remembers between actions must be right too.
        await build(tmp.path('once'), [middle, base], actions);
        expect(await kernelLines([tmp.path('once'), middle, base])).toEqual(ours);
      },
    ),
    { numRuns: 150 },
  );
});

test('the root of an upper layer is never opaque to the kernel, nor to us', async () => {
  using tmp = scratch();
  const { lsetxattr } = await import('../../src/linux/libc.ts');
  const low = plant(tmp.path('low'), { x: 'x' });
  const top = plant(tmp.path('top'), { y: 'y' });
  lsetxattr(top, 'trusted.overlay.opaque', Buffer.from('y'));
  expect(lines(openView(layers(top, low)))).toEqual(await kernelLines([top, low]));
});
