/** How the solver finds again what it has made before. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { OpContext } from '../../src/solver/types.ts';
import { Graphs } from './graph.ts';

let g: Graphs;
let context: string;
beforeEach(async () => {
  g = new Graphs();
  await g.open();
  context = mkdtempSync(join(tmpdir(), 'drydock-context-'));
});
afterEach(async () => {
  expect(await g.looseLeases()).toEqual([]);
  await g.remove();
  rmSync(context, { recursive: true, force: true });
});

/** A client's folder, and a COPY of one of its files. */
function folder(followPaths?: string[]) {
  const spec = { kind: 'folder', dir: context, rootOwned: true, cacheKey: context, followPaths } as const;
  return g.vertex('context', [], {
    source: 'local://context',
    volatile: true,
    does: async () => [g.refs.folder(spec)],
  });
}
const copied = (path: string) => [{ content: [{ path }] }];

test('a record outlives the process: the next one runs nothing and shows CACHED', async () => {
  const graph = () => g.vertex('make', [g.vertex('fetch')]);
  await g.run(graph());
  expect(g.takeRan()).toEqual(['fetch', 'make']);
  await g.restart();
  const build = g.build();
  expect(await g.solve(graph(), build)).toBe('make');
  await g.solver.release(build.job);
  expect(g.takeRan()).toEqual([]);
  expect(build.last('make')).toMatchObject({ cached: true });
  expect(build.last('fetch')).toMatchObject({ cached: true });
});

test('another definition is another record', async () => {
  await g.run(g.vertex('make', [g.vertex('fetch v1')]));
  g.takeRan();
  await g.run(g.vertex('make', [g.vertex('fetch v2')]));
  expect(g.takeRan()).toEqual(['fetch v2', 'make']);
});

test('a definition that changed hits by content, and so does all that is built on it', async () => {
  const graph = (fetch: string) => {
    const from = g.vertex(fetch, [], { does: async () => 'the same bytes' });
    return g.vertex('make', [g.vertex('copy', [from], { deps: copied('/out') })]);
  };
  await g.run(graph('fetch v1'));
  expect(g.takeRan()).toEqual(['fetch v1', 'copy', 'make']);
  await g.run(graph('fetch v2'));
  expect(g.takeRan()).toEqual(['fetch v2']);
  // From now on the new definition leads there by itself.
  await g.restart();
  await g.run(graph('fetch v2'));
  expect(g.takeRan()).toEqual([]);
});

test('files of a client are keyed by their content: only what is copied counts', async () => {
  writeFileSync(join(context, 'a'), 'one');
  const graph = () => g.vertex('make', [g.vertex('copy a', [folder()], { deps: copied('/a') })]);
  await g.run(graph());
  expect(g.takeRan()).toEqual(['context', 'copy a', 'make']);
  writeFileSync(join(context, 'b'), 'not copied');
  await g.run(graph());
  expect(g.takeRan()).toEqual(['context']);
  writeFileSync(join(context, 'a'), 'two');
  await g.run(graph());
  expect(g.takeRan()).toEqual(['context', 'copy a', 'make']);
  writeFileSync(join(context, 'a'), 'one');
  await g.run(graph());
  expect(g.takeRan()).toEqual(['context']);
});

test('a file that is not there fails before anything runs, in words that BuildKit uses', async () => {
  writeFileSync(join(context, 'main.go'), '');
  // The frontend asks for no more of the folder than it copies; the hint is from all of it.
  const graph = g.vertex('copy', [folder(['man.go'])], { deps: copied('/man.go') });
  await expect(g.run(graph)).rejects.toMatchObject({
    code: 'not-found',
    hop: 'file',
    step: 'copy',
    message: expect.stringMatching(
      /^failed to compute cache key: failed to calculate checksum of ref .+: "\/man.go": not found$/,
    ),
    hint: expect.stringContaining('main.go'),
  });
  expect(g.takeRan()).toEqual(['context']);
});

test('a context that changes while it is copied poisons nothing', async () => {
  writeFileSync(join(context, 'a'), 'old');
  const graph = (meddle: boolean) => {
    const copy = g.vertex('copy a', [folder()], {
      deps: copied('/a'),
      does: async ([ref]) => {
        if (meddle) writeFileSync(join(context, 'a'), 'new');
        return g.read(ref, '/a');
      },
    });
    return g.vertex('make', [copy], { does: async ([ref]) => `made of ${await g.read(ref)}` });
  };
  const build = g.build();
  expect(await g.solve(graph(true), build)).toBe('made of new');
  await g.solver.release(build.job);
  expect(build.warnings).toMatchObject([{ short: expect.stringContaining('changed') }]);
  expect(g.takeRan()).toEqual(['context', 'copy a', 'make']);
  // The old content was never seen copied, whatever the key of that build said.
  writeFileSync(join(context, 'a'), 'old');
  expect(await g.solve(graph(false), build)).toBe('made of old');
  await g.solver.release(build.job);
  expect(g.takeRan()).toEqual(['context', 'copy a', 'make']);
});

test('ignoreCache runs a vertex and what stands on it again, and the new result replaces the old', async () => {
  let n = 0;
  const graph = (ignoreCache: boolean) =>
    g.vertex('make', [g.vertex('fetch', [], { ignoreCache, does: async () => `${++n}` })], {
      does: async ([ref]) => `made of ${await g.read(ref)}`,
    });
  await g.run(graph(false));
  await g.run(graph(true));
  expect(g.takeRan()).toEqual(['fetch', 'make', 'fetch', 'make']);
  const build = g.build();
  expect(await g.solve(graph(false), build)).toBe('made of 2');
  await g.solver.release(build.job);
  expect(g.takeRan()).toEqual([]);
});

test('a pruned result is made again, alone: what is built on it still hits', async () => {
  const graph = () => g.vertex('make', [g.vertex('fetch')]);
  await g.run(graph());
  g.takeRan();
  const fetch = g.cache.list().find((record) => record.description === 'fetch');
  g.cache.prune([fetch!.id]);
  await g.run(graph());
  expect(g.takeRan()).toEqual([]);
  const make = g.cache.list().find((record) => record.description === 'make');
  g.cache.prune([make!.id]);
  await g.run(graph());
  expect(g.takeRan()).toEqual(['fetch', 'make']);
});

test('a record whose snapshot is gone is a miss, and is mended', async () => {
  const graph = () => g.vertex('make');
  await g.run(graph());
  const [record] = g.cache.list();
  const [result] = record!.results!;
  if (result?.kind !== 'snapshot') throw new Error('not a snapshot');
  for (const { id } of await g.store.leases.list()) await g.store.leases.delete(id);
  await g.store.leases.create('test');
  await g.store.gc();
  expect(await g.store.snapshots.stat(result.key)).toBeUndefined();
  await g.run(graph());
  await g.run(graph());
  expect(g.takeRan()).toEqual(['make', 'make']);
  await g.store.gc();
  await g.run(graph());
  expect(g.takeRan()).toEqual([]);
});

test('what a build made stays leased until it is released, and a record’s snapshot after that', async () => {
  const build = g.build();
  let lease = '';
  const target = g.vertex('make', [], {
    does: async (_, ctx: OpContext) => {
      lease = ctx.lease;
      return 'x';
    },
  });
  await g.solve(target, build);
  expect(await g.looseLeases()).toContain(lease);
  await g.solver.release(build.job);
  expect(await g.looseLeases()).toEqual([]);
  await g.store.gc();
  expect(await g.solve(g.vertex('make'), build)).toBe('x');
  await g.solver.release(build.job);
});

test('equal records may stand on each other: the same op on the same content, twice over', async () => {
  // Both copies have one identity by content, and the second one's input is the first one.
  const graph = (fetch: string) => {
    const from = g.vertex(fetch, [], { does: async () => 'same' });
    const first = g.vertex('copy 1', [from], {
      says: 'copy',
      deps: copied('/out'),
      does: async () => 'same',
    });
    return g.vertex('copy 2', [first], { says: 'copy', deps: copied('/out'), does: async () => 'same' });
  };
  await g.run(graph('fetch'));
  expect(g.takeRan()).toEqual(['fetch', 'copy 1']);
  for (const record of g.cache.list()) g.cache.prune(record.description === 'fetch' ? [] : [record.id]);
  await g.run(graph('fetch'));
  expect(g.takeRan()).toEqual(['copy 1']);
});
