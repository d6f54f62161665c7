/** The page's API of images: their list, layers with what made them, the files in each, statements; on both stores. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ImageDetail, ImageList, LayerFolder, LayerSums } from '../../../src/api/ui/types.ts';
import type { StoreOptions } from '../../../src/engine/store-options.ts';
import { build } from '../../../src/sdk/build.ts';
import { shellContext } from '../../kit/api-builds.ts';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { imageOf, tarOf } from '../../kit/images.ts';
import { type OneStore, onStores } from '../../kit/stores.ts';

const api = '/ui/api/v1/images';

onStores("the page's images", (store) => tests(store, {}));
// Its snapshots are whole trees: what a layer changes is found by comparing them.
onStores("the page's images, of the native snapshotter", (store) => tests(store, { snapshotter: 'native' }));

function tests(store: OneStore, more: Pick<StoreOptions, 'snapshotter'>): void {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon({ ...store.options(), ...more });
    const steps = [
      'RUN mkdir /data && head -c 5000 /dev/zero > /data/big && echo one > /data/kept && ln /data/big /data/same',
      'RUN rm /data/big /data/same && echo two > /data/kept && echo new > /data/new',
      'ENV WHO=me',
    ].join('\n');
    const body = tarOf(shellContext(steps, {}, ['mkdir', 'head', 'ln', 'rm', 'echo']));
    await daemon.ask('POST', '/build?version=2&t=app:1', { body });
  });
  afterAll(() => daemon.stop());

  const get = async <T>(path: string) => (await daemon.ask('GET', `${api}${path}`)).json<T>();
  const statusOf = async (path: string) => (await daemon.ask('GET', `${api}${path}`)).status;
  const files = (layer: number, folder: string, more = '') =>
    get<LayerFolder>(`/app:1/layers/${layer}/files?folder=${encodeURIComponent(folder)}${more}`);

  test('the list, and one of it by name and by ID', async () => {
    const { images, store: kept } = await get<ImageList>('');
    expect(kept).toMatchObject({ kind: store.kind, ...more });
    const line = images.find(({ names }) => names.includes('app:1'));
    expect(line).toMatchObject({ platforms: [expect.stringContaining('linux/')] });
    const image = await get<ImageDetail>('/app:1');
    expect(image).toMatchObject({ id: line?.id, names: ['app:1'], target: line?.target, size: line?.size });
    expect((await get<ImageDetail>(`/${line?.id.slice(7, 19)}`)).id).toBe(line?.id);
    expect(image.config.Env).toContain('WHO=me');
    expect(await statusOf('/none:1')).toBe(404);
    expect(await statusOf('/app:1?platform=linux/s390x')).toBe(404);
    expect(await statusOf('/app:1?platform=///')).toBe(400);
  });

  test('each layer with the instruction that made it', async () => {
    const { layers, history } = await get<ImageDetail>('/app:1');
    expect(layers).toHaveLength(3);
    const made = history.filter(({ layer }) => layer !== undefined);
    expect(made.map(({ layer }) => layer)).toEqual([0, 1, 2]);
    expect(made[1]?.createdBy).toContain('mkdir /data');
    expect(history.at(-1)).toMatchObject({ createdBy: expect.stringContaining('WHO') });
    expect(history.at(-1)?.layer).toBeUndefined();
    for (const { blob, size = 0 } of layers) expect(blob * size).toBeGreaterThan(0);
  });

  test('what each layer adds, changes and removes, and what is wasted', async () => {
    const { layers } = await get<LayerSums>('/app:1/layers');
    expect(layers[1]).toMatchObject({ files: 3, bytes: 5004, wasted: 5004 });
    expect(layers[2]).toMatchObject({ files: 2, bytes: 8, wasted: 0, removed: 5000 });
    const below = (await files(1, '/data')).files;
    expect(below.map(({ name, state, goneAt }) => [name, state, goneAt])).toEqual([
      ['big', 'added', 2],
      ['kept', 'added', 2],
      ['same', 'added', 2],
    ]);
    const above = (await files(2, '/data/')).files;
    expect(above.map(({ name, state }) => `${name} ${state}`)).toEqual([
      'big removed',
      'kept changed',
      'new added',
      'same removed',
    ]);
    const [data] = (await files(2, '/')).files.filter(({ name }) => name === 'data');
    expect(data).toMatchObject({ type: 'dir', below: layers[2] });
    expect(await files(2, '/data', '&from=1&count=2')).toEqual({
      total: 4,
      from: 1,
      files: above.slice(1, 3),
    });
    expect(await files(0, '/../data')).toMatchObject({ total: 0, files: [] });
    expect(await statusOf('/app:1/layers/3/files')).toBe(404);
    expect(await statusOf('/app:1/layers/-1/files')).toBe(404);
    expect(await statusOf('/app:1/layers/0/files?count=x')).toBe(400);
  });

  test('a layer that is only a blob, with whiteouts and more than a thousand files in a folder', async () => {
    const many = Object.fromEntries(Array.from({ length: 1203 }, (_, i) => [`many/${1000 + i}`, 'x']));
    const image = imageOf([
      tarOf({ ...many, 'gone/a': 'abc' }),
      tarOf({ '.wh.gone': '', 'many/1000': 'yy' }),
    ]);
    const { engine } = daemon;
    const lease = `test-${crypto.randomUUID()}`;
    await engine.store.leases.create(lease);
    for (const bytes of image.blobs.values()) await engine.store.content.put(bytes, { lease });
    await engine.store.images.put('docker.io/library/blobs:1', image.manifest);
    const { layers } = await get<LayerSums>('/blobs:1/layers');
    expect(layers.map((each) => each?.wasted)).toEqual([4, 0]);
    expect(layers[1]).toMatchObject({ files: 1, removed: 3 });
    const part = await get<LayerFolder>('/blobs:1/layers/0/files?folder=/many&from=990&count=20');
    expect(part.total).toBe(1203);
    expect(part.files.map(({ name }) => name)).toEqual(Array.from({ length: 20 }, (_, i) => `${1990 + i}`));
    const top = await get<LayerFolder>('/blobs:1/layers/1/files');
    expect(top.files.map(({ name, state }) => `${name} ${state}`)).toEqual(['gone removed', 'many same']);
    await engine.store.images.delete('docker.io/library/blobs:1');
    await engine.store.leases.delete(lease);
  });

  test('what is stated of an image, and no other blob', async () => {
    const context = mkdtempSync(join(daemon.dir, 'stated-'));
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n');
    const { engine } = daemon;
    await build({ context, engine, tags: ['stated:1'], provenance: { mode: 'min' } });
    const { attestations, manifest } = await get<ImageDetail>('/stated:1');
    const [provenance] = attestations;
    expect(provenance?.type).toContain('slsa.dev/provenance');
    const statement = await get(`/stated:1/documents/${provenance?.digest}`);
    expect(statement).toMatchObject({ predicateType: provenance?.type, predicate: expect.any(Object) });
    expect(await statusOf(`/stated:1/documents/${manifest}`)).toBe(404);
  });
}
