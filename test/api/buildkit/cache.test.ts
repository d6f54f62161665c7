/** Caches over BuildKit's API: as buildctl's --export-cache and --import-cache and buildx's --cache-to and --cache-from send them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, type Manifest } from '../../../src/oci/index.ts';
import { prune } from '../../../src/upkeep/disk-usage.ts';
import { closePool } from '../../../src/workers/pool.ts';
import { pushBase } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import type { Blobs } from '../../kit/session/content.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, failure, type Solved } from './control-kit.ts';

let registry: TestRegistry;
let base: string;
beforeAll(async () => {
  registry = await startRegistry();
  base = await pushBase(registry.host);
});
afterAll(async () => {
  await registry.stop();
  await closePool();
});

onStores('Solve with caches', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(() => kit.daemon.stop());

  const frontend = { Frontend: 'dockerfile.v0' };
  /** A build that no other test's is like. */
  const context = (name: string) => {
    const text = `FROM ${base}\nRUN echo ${name} ${store.kind} > /f\nCOPY f /g\n`;
    const dir = kit.folder({ Dockerfile: text, f: 'f' });
    return { dirs: { context: dir, dockerfile: dir } };
  };
  /** Nothing of earlier builds is left. */
  const wipe = async () => {
    await prune(kit.daemon.engine, { all: true });
    expect(kit.daemon.engine.cache.list()).toEqual([]);
  };
  /** The steps that were not cached. */
  const ran = ({ status }: Solved) => {
    const last = new Map(status.flatMap(({ vertexes }) => vertexes).map((each) => [each.name, each]));
    return [...last.values()]
      .filter(({ name, cached }) => /\] (RUN|COPY)/.test(name) && !cached)
      .map(({ name }) => name);
  };
  const warnings = ({ status }: Solved) =>
    status.flatMap((message) => message.warnings.map(({ short }) => Buffer.from(short).toString()));

  test("local: into the client's store, whose index is the client's own affair", async () => {
    const blobs: Blobs = new Map();
    const stores = { 'local:/out/cache': blobs };
    const { response } = await kit.solve(
      { ...frontend, Cache: { Exports: [{ Type: 'local', Attrs: { dest: '/out/cache', mode: 'max' } }] } },
      { ...context('local'), stores },
    );
    const manifest = JSON.parse(response['cache.manifest'] ?? '');
    expect(blobs.get(manifest.digest)?.length).toBe(manifest.size);
    const { config, layers } = JSON.parse(blobs.get(manifest.digest)!.toString());
    expect(config.mediaType).toBe('application/vnd.buildkit.cacheconfig.v0');
    expect(layers[0].annotations['containerd.io/uncompressed']).toMatch(/^sha256:/);
    await wipe();
    const Attrs = { src: '/out/cache', digest: manifest.digest };
    const again = await kit.solve(
      {
        ...frontend,
        Cache: { Imports: [{ Type: 'local', Attrs }] },
        Exporters: [{ Type: 'image', Attrs: {} }],
      },
      { ...context('local'), stores },
    );
    expect(ran(again)).toEqual([]);
    expect(warnings(again)).toEqual([]);
  });

  describe("keep= in a client's store, whose index nobody else sees", () => {
    let round = 0;
    /** Exports something new, and returns the manifest's digest. */
    const exportTo = async (
      blobs: Blobs,
      attrs: Record<string, string>,
      { text = `keep ${++round}`, beside = [] as { Type: string; Attrs: Record<string, string> }[] } = {},
    ): Promise<string> => {
      const Exports = [{ Type: 'local', Attrs: { dest: '/out', mode: 'max', ...attrs } }, ...beside];
      const solved = await kit.solve(
        { ...frontend, Cache: { Exports } },
        { ...context(text), stores: { 'local:/out': blobs } },
      );
      expect(warnings(solved)).toEqual([]);
      return JSON.parse(solved.response['cache.manifest'] ?? '').digest;
    };
    const manifestsIn = (blobs: Blobs) =>
      [...blobs].filter(([, bytes]) => bytes[0] === 0x7b && 'config' in JSON.parse(bytes.toString()));
    /** Each manifest has all that it names, and there is nothing else. */
    const expectWhole = (blobs: Blobs) => {
      const named = manifestsIn(blobs).flatMap(([digest, bytes]) => {
        const { config, layers } = JSON.parse(bytes.toString()) as Manifest;
        return [digest, config.digest, ...layers.map((layer) => layer.digest)];
      });
      expect([...blobs.keys()].sort()).toEqual([...new Set(named)].sort());
    };

    test('the newest stay, and what they need; the same again is no further one', async () => {
      const blobs: Blobs = new Map();
      const made: string[] = [];
      for (let i = 0; i < 4; i++) made.push(await exportTo(blobs, { keep: '2' }));
      expect(
        manifestsIn(blobs)
          .map(([digest]) => digest)
          .sort(),
      ).toEqual(made.slice(2).sort());
      expectWhole(blobs);
      const text = `keep ${round}`;
      expect(await exportTo(blobs, { keep: '2' }, { text })).toBe(made[3]);
      expect(manifestsIn(blobs)).toHaveLength(2);
      const last = await exportTo(blobs, { 'max-size': '1k' });
      expect(manifestsIn(blobs).map(([digest]) => digest)).toEqual([last]);
      expectWhole(blobs);
    });

    test("exports of other names, those without a rule, and other clients' images stay", async () => {
      const blobs: Blobs = new Map();
      const plain = await exportTo(blobs, {});
      const other = await exportTo(blobs, { keep: '1', tag: 'other' });
      const first = await exportTo(blobs, { keep: '1' });
      // An image with the first export's layers in it.
      const { layers, config } = JSON.parse(blobs.get(first)!.toString()) as Manifest;
      const image = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: layers.slice(0, 1) }));
      blobs.set(digestOf(image), image);
      const second = await exportTo(blobs, { keep: '1' });
      expect(
        manifestsIn(blobs)
          .map(([digest]) => digest)
          .sort(),
      ).toEqual([plain, other, digestOf(image), second].sort());
      expectWhole(blobs);
    });

    test('an export that an index in the folder names stays whole', async () => {
      const blobs: Blobs = new Map();
      const first = await exportTo(blobs, { keep: '1' });
      const index = Buffer.from(
        JSON.stringify({ schemaVersion: 2, manifests: [{ digest: first, size: 1 }] }),
      );
      blobs.set(digestOf(index), index);
      const second = await exportTo(blobs, { keep: '1' });
      expect(
        manifestsIn(blobs)
          .map(([digest]) => digest)
          .sort(),
      ).toEqual([first, second].sort());
      blobs.delete(digestOf(index));
      expectWhole(blobs);
      const third = await exportTo(blobs, { keep: '1' });
      expect(manifestsIn(blobs).map(([digest]) => digest)).toEqual([third]);
      expectWhole(blobs);
    });

    test('nothing goes when the build fails, as the client then names no new export', async () => {
      const blobs: Blobs = new Map();
      const first = await exportTo(blobs, { keep: '1' });
      const beside = [{ Type: 'registry', Attrs: { ref: '127.0.0.1:1/x' } }];
      const failed = await failure(exportTo(blobs, { keep: '1' }, { beside }));
      expect(failed.rawMessage).toContain('exporting cache to 127.0.0.1:1/x');
      expect(blobs.has(first)).toBe(true);
      const last = await exportTo(blobs, { keep: '1' });
      expect(manifestsIn(blobs).map(([digest]) => digest)).toEqual([last]);
      expectWhole(blobs);
    });

    test('it needs manifests with annotations', async () => {
      const refused = await failure(exportTo(new Map(), { keep: '1', 'oci-mediatypes': 'false' }));
      expect(refused.rawMessage).toContain('need oci-mediatypes=true');
    });
  });

  test('registry: in the fields of old, and told to the frontend alone', async () => {
    const ref = `${registry.host}/caches/${store.kind}`;
    await kit.solve({ ...frontend, Cache: { ExportRefDeprecated: ref } }, context('registry'));
    const imports: Parameters<ControlKit['solve']>[0][] = [
      { Cache: { ImportRefsDeprecated: [ref] } },
      { FrontendAttrs: { 'cache-from': ref } },
      { FrontendAttrs: { 'cache-imports': JSON.stringify([{ Type: 'registry', Attrs: { ref } }]) } },
    ];
    for (const request of imports) {
      await wipe();
      const again = await kit.solve({ ...frontend, ...request }, context('registry'));
      expect(ran(again)).toEqual([]);
    }
  });

  test('inline: in the image that is pushed', async () => {
    const name = `${registry.host}/inline/${store.kind}:1`;
    await kit.solve(
      {
        ...frontend,
        Cache: { Exports: [{ Type: 'inline', Attrs: {} }] },
        Exporters: [{ Type: 'image', Attrs: { name, push: 'true' } }],
      },
      context('inline'),
    );
    await kit.daemon.engine.store.images.delete(name);
    await wipe();
    const Imports = [{ Type: 'registry', Attrs: { ref: name } }];
    const again = await kit.solve({ ...frontend, Cache: { Imports } }, context('inline'));
    expect(ran(again)).toEqual([]);
  });

  test('an exporter that nobody knows, one that is not here, and one that fails', async () => {
    const solve = (Type: string, Attrs: Record<string, string> = {}) =>
      kit.solve({ ...frontend, Cache: { Exports: [{ Type, Attrs }] } }, context('bad'));
    expect((await failure(solve('registrie', { ref: 'x' }))).rawMessage).toMatch(
      /unknown cache exporter: "registrie"[\s\S]*Did you mean registry/,
    );
    expect((await failure(solve('s3'))).rawMessage).toContain('type=s3: bucket= is missing');
    expect((await failure(solve('local', { dest: '/none' }))).rawMessage).toContain('/none');
    expect((await failure(solve('registry', { ref: '127.0.0.1:1/x' }))).rawMessage).toMatch(
      /exporting cache to 127.0.0.1:1\/x:latest: .*connection refused/,
    );
    const ignored = await solve('s3', { 'ignore-error': 'true' });
    expect(warnings(ignored)).toEqual([expect.stringContaining('type=s3: bucket= is missing')]);
  });
});
