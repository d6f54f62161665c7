/** Layers of a result are packed while later steps run, when a processor is idle. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { layerChain } from '../../src/engine/layer-chain.ts';
import { PackAhead } from '../../src/engine/pack-ahead.ts';
import { createExporter } from '../../src/exporter/exporters.ts';
import { rememberedBlob } from '../../src/layer/blobs.ts';
import { type Graph, loadGraphInTurns } from '../../src/llb/graph.ts';
import { image, marshal, merge, mkfile, type State } from '../../src/llb/llb.ts';
import { writeSnapshot } from '../../src/refs/snapshot.ts';
import type { Ref } from '../../src/store/ref.ts';
import { Workshop } from '../kit/workshop.ts';

const graphOf = (state: State): Promise<Graph> =>
  loadGraphInTurns(marshal(state), { signal: new AbortController().signal });

const tool = image('tool').run('make').root();
const app = image('base')
  .run('one')
  .root()
  .file(mkfile('/f', 'x'))
  .copy(tool, '/out', '/out')
  .run('two')
  .root();

function named(graph: Graph, part: string) {
  const found = graph.vertices.find(({ name }) => name.includes(part));
  if (found === undefined)
    throw new Error(`${part} is none of ${graph.vertices.map(({ name }) => name).join(', ')}`);
  return found;
}

/** A ref that is the snapshot of a key. */
const snapshot = (key: string) => ({ serialize: () => ({ kind: 'snapshot', key }) }) as unknown as Ref;

test('the layers of a result are those of the steps that it stands on, and not those of what was copied', async () => {
  const graph = await graphOf(app);
  const chain = layerChain(graph);
  const names = graph.vertices.filter(({ digest }) => chain.has(digest)).map(({ name }) => name);
  expect(names).toHaveLength(5);
  expect(chain.has(named(graph, 'two').digest)).toBe(true);
  expect(chain.has(named(graph, 'make').digest)).toBe(false);
  // A merge's parts are layers of their own trees.
  expect(layerChain(await graphOf(merge([app, tool]))).size).toBe(1);
});

test('they are packed one by one, of this build’s steps and no others, until the outputs are made', async () => {
  const graph = await graphOf(app);
  const packed: string[] = [];
  let isIdle = false;
  const idle = async () => {
    await sleep(1);
    return isIdle;
  };
  const ahead = new PackAhead({ lease: 'test', idle, pack: async (key) => void packed.push(key) });
  ahead.made(named(graph, 'one'), [snapshot('before it is known what is wanted')]);
  ahead.expect(graph);
  ahead.made(named(graph, 'make'), [snapshot('copied from')]);
  ahead.made(named(graph, 'one'), [snapshot('one')]);
  await sleep(20);
  // All processors are at work.
  expect(packed).toEqual([]);
  isIdle = true;
  await expect.poll(() => packed).toEqual(['one']);
  isIdle = false;
  ahead.made(named(graph, 'two'), [snapshot('two')]);
  ahead.end();
  isIdle = true;
  await ahead.close();
  expect(packed).toEqual(['one']);
});

test('a packing that is under way when the build ends is given up, and one that fails is nobody’s fault', async () => {
  const graph = await graphOf(app);
  const given: AbortSignal[] = [];
  const pack = (_: string, { signal }: { signal: AbortSignal }) =>
    new Promise<void>((_resolve, reject) => {
      given.push(signal);
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const stopped = new PackAhead({ lease: 'test', idle: async () => true, pack });
  stopped.expect(graph);
  stopped.made(named(graph, 'one'), [snapshot('one')]);
  await expect.poll(() => given.length).toBe(1);
  await stopped.close();
  expect(given[0]?.aborted).toBe(true);

  const failing = new PackAhead({
    lease: 'test',
    idle: async () => true,
    pack: () => Promise.reject(new Error('full disk')),
  });
  failing.expect(graph);
  failing.made(named(graph, 'one'), [snapshot('one')]);
  await failing.close();
});

test('an image’s packer makes what the image will ask for', async () => {
  const shop = new Workshop();
  await shop.open();
  try {
    const { store } = shop;
    const what = { name: 'step', key: 'step-active', parent: undefined, actions: [] };
    await writeSnapshot(store, what, { lease: 'test' });
    const at = { lease: 'test', signal: new AbortController().signal };
    const kept = async (type: 'uncompressed' | 'gzip') => {
      const info = await store.snapshots.stat('step');
      const blob = info && rememberedBlob(info, { compression: { type } });
      return blob && { type, inContent: (await store.content.info(blob.descriptor.digest)) !== undefined };
    };
    expect(await kept('uncompressed')).toBeUndefined();
    await createExporter('image', {}).packer?.(store)?.('step', at);
    // Of an image that is only stored here, the digest alone is wanted.
    expect(await kept('uncompressed')).toEqual({ type: 'uncompressed', inContent: false });
    await createExporter('image', { push: 'true' }).packer?.(store)?.('step', at);
    expect(await kept('gzip')).toEqual({ type: 'gzip', inContent: true });
    // Times that are set to another one hang on the result.
    expect(createExporter('image', { 'rewrite-timestamp': 'true' }).packer?.(store)).toBeUndefined();
  } finally {
    await shop.remove();
  }
});
