import { execFileSync } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, describe, expect, test } from 'vitest';
import type { Index } from '../../src/oci/types.ts';
import type { Store } from '../../src/store/store.ts';
import { closePool } from '../../src/workers/pool.ts';
import { step, withStore } from '../layer/kit.ts';
import { readTar } from '../tar/kit.ts';
import { arm64, bufferSink, refsOf, registry, run, solved } from './kit.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-archive-'));
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  registry.close();
  await closePool();
});

async function refOf(store: Store) {
  const below = await step(store, 'one', undefined, (root) => {
    writeFileSync(join(root, 'a'), 'a');
    mkdirSync(join(root, 'gone'));
  });
  return refsOf(store).snapshot(
    await step(store, 'two', below, (root) => {
      rmSync(join(root, 'gone'), { recursive: true });
      writeFileSync(join(root, 'b'), 'b'.repeat(100_000));
    }),
  );
}
const toFile = (path: string) => ({ tar: async () => createWriteStream(path) });
const skopeo = (...args: string[]) =>
  execFileSync('skopeo', ['--insecure-policy', ...args], { encoding: 'utf8' });
const name = 'docker.io/library/app:1';

describe.each([
  ['oci', 'oci-archive'],
  ['docker', 'docker-archive'],
] as const)('type=%s', (type, transport) => {
  test.each(['uncompressed', 'gzip', 'zstd'])(
    '%s: skopeo reads it, and finds what was built',
    (compression) =>
      withStore('overlayfs', async (store) => {
        const path = join(dir, `${type}-${compression}.tar`);
        const results = [solved(await refOf(store))];
        const out = await run(
          store,
          type,
          { compression },
          { results, names: [name] },
          { sink: toFile(path) },
        );
        const tagged = type === 'oci' ? path : `${path}:app:1`;
        const seen = JSON.parse(skopeo('inspect', `${transport}:${tagged}`));
        expect(seen).toMatchObject({ Os: 'linux', Architecture: 'amd64' });
        expect(seen.Layers).toHaveLength(2);
        const copy = join(dir, `${type}-${compression}`);
        skopeo('copy', `${transport}:${tagged}`, `dir:${copy}`);
        const manifest = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8'));
        expect(manifest.config.digest).toBe(out.imageId);
        const top = join(copy, manifest.layers[1].digest.slice('sha256:'.length));
        const listed = execFileSync('tar', ['-tf', top], { encoding: 'utf8' }).trim().split('\n');
        expect(listed).toEqual(['b', '.wh.gone']);
        expect(out.statuses).toContain('sending tarball');
        expect(out.open).toEqual([]);
      }),
  );
});

test('an OCI archive holds the layout and nothing else, names in its index', () =>
  withStore('overlayfs', async (store) => {
    const { sink, bytes } = bufferSink();
    const results = [solved(await refOf(store))];
    const names = [name, 'docker.io/library/app:2'];
    const out = await run(
      store,
      'oci',
      { 'annotation-manifest-descriptor.k': 'v' },
      { results, names },
      { sink },
    );
    const entries = readTar(await bytes());
    const index = JSON.parse(entries.find(({ path }) => path === 'index.json')!.body.toString()) as Index;
    expect(
      index.manifests.map(({ annotations }) => annotations?.['org.opencontainers.image.ref.name']),
    ).toEqual(['1', '2']);
    expect(index.manifests.map(({ annotations }) => annotations?.['io.containerd.image.name'])).toEqual(
      names,
    );
    expect(index.manifests[0]).toMatchObject({ digest: out.descriptor?.digest, annotations: { k: 'v' } });
    expect(entries.filter(({ path }) => path.startsWith('blobs/sha256/'))).toHaveLength(4);
    expect(entries.map(({ path }) => path).filter((path) => !path.startsWith('blobs/sha256/'))).toEqual([
      'blobs',
      'blobs/sha256',
      'index.json',
      'oci-layout',
    ]);
  }));

test('a docker archive has the manifest.json that docker load reads', () =>
  withStore('overlayfs', async (store) => {
    const { sink, bytes } = bufferSink();
    const out = await run(
      store,
      'docker',
      {},
      { results: [solved(await refOf(store))], names: [name] },
      { sink },
    );
    const entries = new Map(readTar(await bytes()).map((entry) => [entry.path, entry.body]));
    const [image] = JSON.parse(entries.get('manifest.json')!.toString());
    expect(image.RepoTags).toEqual(['app:1']);
    expect(image.Config).toBe(`blobs/sha256/${out.imageId?.slice(7)}`);
    for (const path of [image.Config, ...image.Layers]) expect(entries.has(path)).toBe(true);
  }));

test('tar=false writes a layout folder; a second image joins the first, and a name moves', () =>
  withStore('overlayfs', async (store) => {
    const folder = join(dir, 'layout');
    const results = [solved(await refOf(store))];
    const attrs = { tar: 'false' };
    const sink = { files: folder };
    await run(store, 'oci', attrs, { results, names: [name] }, { sink });
    await run(
      store,
      'oci',
      attrs,
      { results: [solved(undefined, { history: [] })], names: ['docker.io/library/app:2'] },
      { sink },
    );
    expect(JSON.parse(skopeo('inspect', `oci:${folder}:1`)).Layers).toHaveLength(2);
    expect(JSON.parse(skopeo('inspect', `oci:${folder}:2`)).Layers).toHaveLength(0);
    await run(
      store,
      'oci',
      attrs,
      { results: [solved(undefined, { history: [] })], names: [name] },
      { sink },
    );
    expect(JSON.parse(skopeo('inspect', `oci:${folder}:1`)).Layers).toHaveLength(0);
    expect(readdirSync(join(folder, 'blobs/sha256')).filter((file) => file.endsWith('.part'))).toEqual([]);
  }));

test('several platforms in one OCI archive; docker’s holds one only', () =>
  withStore('overlayfs', async (store) => {
    const ref = await refOf(store);
    const results = [solved(ref), solved(ref, {}, arm64)];
    const path = join(dir, 'multi.tar');
    await run(store, 'oci', {}, { results, names: [name] }, { sink: toFile(path) });
    const seen = JSON.parse(skopeo('--override-arch', 'arm64', 'inspect', `oci-archive:${path}`));
    expect(seen.Architecture).toBe('arm64');
    await expect(
      run(store, 'docker', {}, { results }, { sink: toFile(join(dir, 'no')) }),
    ).rejects.toMatchObject({
      code: 'unsupported',
    });
    expect(existsSync(join(dir, 'no'))).toBe(false);
  }));

test('a reader that goes away, and an abort, are errors and not a hang', () =>
  withStore('overlayfs', async (store) => {
    const results = [solved(await refOf(store))];
    const broken = new PassThrough({ highWaterMark: 1024 });
    setTimeout(() => broken.destroy(), 50);
    await expect(
      run(store, 'oci', {}, { results }, { sink: { tar: async () => broken } }),
    ).rejects.toMatchObject({
      code: 'unavailable',
      hop: 'export',
    });
    const stuck = new PassThrough({ highWaterMark: 1024 });
    const signal = AbortSignal.timeout(100);
    await expect(
      run(store, 'oci', {}, { results }, { sink: { tar: async () => stuck }, signal }),
    ).rejects.toMatchObject({ code: 'canceled' });
    expect(stuck.destroyed).toBe(true);
    await expect(run(store, 'oci', {}, { results })).rejects.toMatchObject({ code: 'invalid' });
  }));
