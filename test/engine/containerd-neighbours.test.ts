/** Images in a containerd whose other namespaces have the same blobs, and whose other clients take things away. */
import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findImage } from '../../src/distribution/stored.ts';
import { type Engine, openEngine } from '../../src/engine/engine.ts';
import { loadImages } from '../../src/images/load.ts';
import { pullImage } from '../../src/images/pull.ts';
import { pushImage } from '../../src/images/push.ts';
import { removeImage } from '../../src/images/remove.ts';
import { saveImages } from '../../src/images/save.ts';
import { migrateStore } from '../../src/upkeep/migrate/migrate.ts';
import { Builds } from '../kit/builds.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onContainerd } from '../kit/stores.ts';

onContainerd(
  'a containerd that namespaces share',
  (store) => {
    const builds = new Builds();
    const engines: Engine[] = [];
    let registry: TestRegistry;
    let name: string;
    let archive: string;
    /** An engine on a namespace that has nothing. */
    const another = async (namespace: string) => {
      const engine = await openEngine({ root: join(builds.dir, namespace), ...store.options(namespace) });
      engines.push(engine);
      return engine;
    };
    const idOf = async (engine: Engine, name: string) => (await findImage(engine.store, name)).image.id;

    beforeAll(async () => {
      registry = await startRegistry();
      await builds.open(store.options('first'));
      name = `${registry.host}/app:1`;
      await builds.build('RUN echo big > /big\nCOPY f /f', { f: 'x'.repeat(2 << 20) }, { tags: [name] });
      await pushImage(builds.engine.store, builds.engine.registry, name);
      archive = join(builds.dir, 'app.tar');
      await saveImages(builds.engine.store, [name], createWriteStream(archive));
    });
    afterAll(async () => {
      for (const engine of engines) await engine.close();
      await builds.close();
      await registry.stop();
    });

    test('is loaded into, pulled into and migrated to', async () => {
      const id = await idOf(builds.engine, name);
      const [loads, pulls, moves, local] = [
        await another('loads'),
        await another('pulls'),
        await another('moves'),
        await openEngine({ root: join(builds.dir, 'local') }),
      ];
      engines.push(local);
      await loadImages(loads.store, createReadStream(archive));
      await pullImage(pulls.store, pulls.registry, name);
      await loadImages(local.store, createReadStream(archive));
      expect((await migrateStore(local, moves)).problems).toEqual([]);
      for (const engine of [loads, pulls, moves]) {
        expect(await idOf(engine, name)).toBe(id);
        expect((await engine.store.verify()).problems).toEqual([]);
      }
    });

    test('gives an OCI layout of the client as a base', async () => {
      const layout = join(builds.dir, 'layout');
      execFileSync('mkdir', [layout]);
      execFileSync('tar', ['xf', archive, '-C', layout]);
      const engine = await another('layouts');
      const { target } = (await builds.engine.store.images.get(name))!;
      const built = new Builds();
      built.engine = engine;
      const { read } = await built.build(
        'FROM app\nRUN cat /big > /copy',
        {},
        {
          namedContexts: { app: `oci-layout://layout@${target.digest}` },
          locals: { layout },
        },
      );
      expect(read('/copy')).toBe('big\n');
    });

    test('builds the same again where others have it already', async () => {
      const engine = await another('builds');
      const { engine: first } = builds;
      builds.engine = engine;
      try {
        await builds.makeBase();
        const { read } = await builds.build('RUN echo big > /big\nCOPY f /f', { f: 'x'.repeat(2 << 20) });
        expect(read('/f')).toHaveLength(2 << 20);
      } finally {
        builds.engine = first;
      }
    });

    test('whose client took a snapshot or a blob away: it is made again', async () => {
      const text = 'RUN echo one > /one\nRUN echo two > /two';
      await builds.build(text, {}, { tags: ['taken:1'] });
      const { content, images, snapshots } = builds.engine.store;
      const { digest } = (await images.get('docker.io/library/taken:1'))!.target;
      const { layers } = JSON.parse((await content.bytes(digest)).toString());
      const ctr = (...args: string[]) => store.containerd().ctr('first', ...args);
      await removeImage(builds.engine.store, 'taken:1');
      const tops = (await snapshots.list()).filter(({ labels }) =>
        JSON.stringify(labels).includes('echo two'),
      );
      expect(tops).not.toEqual([]);
      for (const { key } of tops) ctr('snapshots', 'rm', key);
      ctr('content', 'rm', layers.at(-1).digest);
      const again = await builds.build(text, {}, { tags: ['taken:2'] });
      expect([again.read('/one'), again.read('/two')]).toEqual(['one\n', 'two\n']);
      expect((await builds.engine.store.verify()).problems).toEqual([]);
    });
  },
  { sharing: 'shared' },
);
