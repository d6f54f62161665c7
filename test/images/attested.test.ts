/** What is stated of an image stays with it: through tag, push, pull, save, load, prune, the API and a migration. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { storedAttestations } from '../../src/distribution/attestations.ts';
import { type Engine, openEngine } from '../../src/engine/engine.ts';
import { loadImages } from '../../src/images/load.ts';
import { pullImage } from '../../src/images/pull.ts';
import { pushImage } from '../../src/images/push.ts';
import { removeImage } from '../../src/images/remove.ts';
import { saveImages } from '../../src/images/save.ts';
import { imageStatements } from '../../src/images/statements.ts';
import { tagImage } from '../../src/images/tag.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { normalizeName } from '../../src/oci/reference.ts';
import type { Digest } from '../../src/oci/types.ts';
import { build } from '../../src/sdk/build.ts';
import { contentRefLabels } from '../../src/store/labels.ts';
import { migrateStore } from '../../src/upkeep/migrate/migrate.ts';
import { closePool } from '../../src/workers/pool.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

let registry: TestRegistry;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(async () => {
  await registry.stop();
  await closePool();
});

onStores('an image with a provenance', (store) => {
  let daemon: TestDaemon;
  let engine: Engine;
  let target: Digest;
  let builds = 0;
  const made = async (tag: string, platforms?: string[]) => {
    const context = mkdtempSync(join(daemon.dir, 'context-'));
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\n');
    writeFileSync(join(context, 'f'), `hello ${builds++}`);
    const { descriptor } = await build({
      context,
      engine,
      tags: [tag],
      platforms,
      provenance: { mode: 'min' },
    });
    return descriptor?.digest as Digest;
  };
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
    engine = daemon.engine;
    target = await made('app:1');
  });
  afterAll(() => daemon.stop());

  /** What is stated under a name, once the collector has been there: predicate types by image. */
  const stated = async (name: string, at: Engine = engine) => {
    await at.store.gc();
    const record = await at.store.images.get(normalizeName(name));
    if (record === undefined) return undefined;
    const found = await storedAttestations(at.store, name, record.target);
    return Promise.all(
      found.map(async ({ document: { layers } }) => {
        const { predicateType } = JSON.parse((await at.store.content.bytes(layers[0]!.digest)).toString());
        return predicateType;
      }),
    );
  };
  const one = ['https://slsa.dev/provenance/v1'];
  const saved = (...names: string[]) => {
    const out = new PassThrough();
    void saveImages(engine.store, names, out).catch((err) => out.destroy(err));
    return out;
  };

  test('built, and named again', async () => {
    expect(await stated('app:1')).toEqual(one);
    await tagImage(engine.store, 'app:1', 'app:2');
    expect((await engine.store.images.get('docker.io/library/app:2'))?.target.digest).toBe(target);
    await removeImage(engine.store, 'app:1');
    expect(await stated('app:2')).toEqual(one);
  });

  test('built again under its name, no image without a name is left', async () => {
    const count = async () => (await engine.store.images.list()).length;
    await tagImage(engine.store, 'app:2', 'app:3');
    const before = await count();
    const context = mkdtempSync(join(daemon.dir, 'context-'));
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nLABEL a=b\n');
    const again = () => build({ context, engine, tags: ['again'], provenance: true });
    const first = await again();
    const second = await again();
    expect(second.descriptor?.digest).not.toBe(first.descriptor?.digest);
    expect(second.imageId).toBe(first.imageId);
    expect(await count()).toBe(before + 1);
  });

  test('saved and loaded', async () => {
    const bytes = (await saved('app:2').toArray()) as Buffer[];
    await removeImage(engine.store, 'app:2');
    await removeImage(engine.store, 'app:3');
    expect(await engine.store.content.info(target)).toBeUndefined();
    async function* archive() {
      yield* bytes;
    }
    await loadImages(engine.store, archive());
    expect((await engine.store.images.get('docker.io/library/app:2'))?.target.digest).toBe(target);
    expect(await stated('app:2')).toEqual(one);
  });

  test('pushed and pulled: the same bytes', async () => {
    const name = `${registry.host}/${store.kind}/app:1`;
    const digest = await made(name, ['linux/amd64', 'linux/arm64']);
    const pushed = await pushImage(engine.store, engine.registry, name);
    expect(pushed.target.digest).toBe(digest);
    await removeImage(engine.store, name);
    await pullImage(engine.store, engine.registry, name, {
      platform: { os: 'linux', architecture: 'arm64' },
    });
    expect(await stated(name)).toEqual(one);
    await removeImage(engine.store, name);
    await pullImage(engine.store, engine.registry, name, { all: true });
    expect(await stated(name)).toEqual([...one, ...one]);
    expect((await engine.store.images.get(name))?.target.digest).toBe(digest);
    expect((await pushImage(engine.store, engine.registry, name)).target.digest).toBe(digest);
  });

  test('that the index says of another image: it is neither pulled nor loaded, and not shown', async () => {
    const name = `${registry.host}/${store.kind}/wrong:1`;
    const digest = await made(name, ['linux/amd64', 'linux/arm64']);
    await pushImage(engine.store, engine.registry, name);
    const index = JSON.parse((await engine.store.content.bytes(digest)).toString());
    const [first, second, ofFirst, ofSecond] = index.manifests;
    // Each image with the other's statements.
    ofFirst.annotations['vnd.docker.reference.digest'] = second.digest;
    ofSecond.annotations['vnd.docker.reference.digest'] = first.digest;
    const bytes = Buffer.from(JSON.stringify(index));
    const descriptor = { mediaType: index.mediaType, digest: digestOf(bytes), size: bytes.length };
    await engine.registry.pushManifest(name, descriptor, bytes);
    const message = new RegExp(
      `the attestation ${ofFirst.digest} has the subject "${first.digest}", and .* ${second.digest}`,
    );
    await engine.store.leases.create('wrong');
    await engine.store.content.put(bytes, { lease: 'wrong', labels: contentRefLabels(index.manifests) });
    await engine.store.images.put(normalizeName('wrong'), descriptor);
    const archive = (await saved('wrong').toArray()) as Buffer[];
    await expect(
      imageStatements(engine.store, 'wrong', { platform: { os: 'linux', architecture: 'arm64' } }),
    ).rejects.toThrow(message);
    await removeImage(engine.store, 'wrong');
    await removeImage(engine.store, name);
    await engine.store.leases.delete('wrong');
    await engine.store.gc();
    await expect(pullImage(engine.store, engine.registry, name, { all: true })).rejects.toThrow(message);
    await expect(loadImages(engine.store, Readable.from(archive))).rejects.toThrow(message);
    expect(await engine.store.images.get(name)).toBeUndefined();
    expect(await engine.store.images.get(normalizeName('wrong'))).toBeUndefined();
    await engine.store.gc();
    expect(await engine.store.content.info(ofFirst.digest)).toBeUndefined();
  });

  test('loaded for one platform: with what is stated of that one', async () => {
    await made('two:1', ['linux/amd64', 'linux/arm64']);
    const bytes = (await saved('two:1').toArray()) as Buffer[];
    await removeImage(engine.store, 'two:1');
    async function* archive() {
      yield* bytes;
    }
    const arm64 = { os: 'linux', architecture: 'arm64' };
    await loadImages(engine.store, archive(), { platforms: [arm64] });
    expect(await stated('two:1')).toEqual(one);
  });

  test('GET /images: one image, with both manifests', async () => {
    await tagImage(engine.store, 'app:2', 'listed:1');
    const list = (await daemon.ask('GET', '/v1.48/images/json?manifests=1')).json<
      { RepoTags: string[]; Manifests: Record<string, unknown>[] }[]
    >();
    const listed = list.filter(({ RepoTags }) => RepoTags.includes('listed:1'));
    expect(listed).toHaveLength(1);
    const [image, attestation] = listed[0]?.Manifests ?? [];
    expect(image).toMatchObject({ Kind: 'image', Available: true });
    expect(attestation).toMatchObject({
      Kind: 'attestation',
      Available: true,
      AttestationData: { For: image?.ID },
      Descriptor: { platform: { os: 'unknown', architecture: 'unknown' } },
    });
    const inspected = (await daemon.ask('GET', '/v1.48/images/listed:1/json?manifests=1')).json<{
      Manifests: unknown[];
      Descriptor: { digest: string };
    }>();
    expect(inspected.Manifests).toEqual([image, attestation]);
    expect(inspected.Descriptor.digest).toBe(target);
  });

  test('GET /images/{name}/attestations: the statements, of a platform, of some types, whole or not', async () => {
    const context = mkdtempSync(join(daemon.dir, 'context-'));
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n');
    const platforms = ['linux/amd64', 'linux/arm64'];
    await build({ context, engine, tags: ['both:1'], platforms, provenance: { mode: 'min' }, sbom: true });
    const ask = async (query: string) => {
      const answer = await daemon.ask('GET', `/images/both:1/attestations?${query}`);
      return { status: answer.status, found: answer.json<Record<string, never>[]>() };
    };
    const spdx = 'https://spdx.dev/Document';
    const { found } = await ask('');
    expect(found).toEqual(
      [spdx, ...one].map((PredicateType) => ({
        PredicateType,
        Descriptor: expect.objectContaining({
          mediaType: 'application/vnd.in-toto+json',
          annotations: { 'in-toto.io/predicate-type': PredicateType },
        }),
      })),
    );
    const arm = encodeURIComponent('{"os":"linux","architecture":"arm64"}');
    const [whole] = (await ask(`statement=true&type=${spdx}&platform=${arm}`)).found;
    expect(whole).toMatchObject({
      PredicateType: spdx,
      Statement: {
        predicateType: spdx,
        subject: [{ name: 'pkg:docker/both@1?platform=linux%2Farm64' }],
        predicate: { spdxVersion: 'SPDX-2.3' },
      },
    });
    expect((await ask('type=other')).found).toEqual([]);
    expect((await ask('platform=linux/s390x')).status).toBe(404);
    expect((await ask('platform=linux/arm64&platform=linux/amd64')).status).toBe(400);
    expect((await daemon.ask('GET', '/images/none/attestations')).status).toBe(404);
    await removeImage(engine.store, 'both:1');
  });

  test('removed with its image', async () => {
    const digest = await made('gone:1');
    const record = await engine.store.images.get('docker.io/library/gone:1');
    const [attestation] = await storedAttestations(engine.store, 'gone', record!.target);
    await removeImage(engine.store, 'gone:1');
    for (const blob of [digest, attestation!.entry.digest, attestation!.document.layers[0]!.digest]) {
      expect(await engine.store.content.info(blob)).toBeUndefined();
    }
  });

  test('migrated to another store, and back', async () => {
    const other = await openEngine({ root: join(daemon.dir, 'other'), imageStore: 'local' });
    try {
      const names = ['app:2'];
      expect(await migrateStore(engine, other, { names })).toMatchObject({
        problems: [],
        images: { moved: names },
      });
      expect(await stated('app:2', other)).toEqual(one);
      expect((await migrateStore(engine, other, { names })).images).toMatchObject({ moved: [], there: 1 });
      await removeImage(engine.store, 'app:2', { force: true });
      await removeImage(engine.store, 'listed:1', { force: true });
      expect(await engine.store.content.info(target)).toBeUndefined();
      await migrateStore(other, engine, { names });
      expect(await stated('app:2')).toEqual(one);
    } finally {
      await other.close();
    }
  });
});
