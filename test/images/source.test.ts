/** Images as build sources: which image a reference means, its cache key, and OCI layouts of the client's. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openView } from '../../src/fs/open.ts';
import { readFileIn } from '../../src/fs/read.ts';
import { pullImage } from '../../src/images/pull.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Digest, Platform } from '../../src/oci/types.ts';
import { OpSchema } from '../../src/pb/solver/pb/ops_pb.js';
import { createRefs } from '../../src/refs/refs.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { inProcessSession } from '../../src/session/in-process.ts';
import { SessionManager } from '../../src/session/manager.ts';
import type { Session } from '../../src/session/types.ts';
import type { Op, OpContext, Vertex } from '../../src/solver/types.ts';
import type { SourceDeps } from '../../src/source/deps.ts';
import { imageSource, resolveImageConfig } from '../../src/source/image.ts';
import { ociLayoutSource } from '../../src/source/oci-layout.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import type { Ref } from '../../src/store/ref.ts';
import type { Store } from '../../src/store/store.ts';
import { imageOf, indexOf, putImage, tarOf, writeLayout } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import type { Blobs } from '../kit/session/content.ts';
import { join as joinSession } from '../kit/session/duplex-pair.ts';
import { SessionClient } from '../kit/session/session-client.ts';

let registry: TestRegistry;
let root: string;
let store: Store;
let deps: SourceDeps;
let session: Session;
const lease = 'build';
const client = new RegistryClient({ userAgent: 'test/1', retries: 0 });
const amd64: Platform = { os: 'linux', architecture: 'amd64' };
const arm64: Platform = { os: 'linux', architecture: 'arm64' };
const one = imageOf([tarOf({ v: 'one' }), tarOf({ w: 'top' })]);
const two = imageOf([tarOf({ v: 'two' })]);
const arm = imageOf([tarOf({ v: 'arm' })], { platform: arm64 });

beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.stop());
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'drydock-source-'));
  store = await openLocalStore(join(root, 'store'));
  await store.leases.create(lease);
  // Of what ops work with, sources need these three.
  deps = { store, registry: client, refs: createRefs({ store, registry: client }) } as SourceDeps;
  session = inProcessSession({ locals: { layout: join(root, 'layout') } });
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

function vertexOf(identifier: string, attrs: Record<string, string> = {}, platform = amd64): Vertex {
  const op = create(OpSchema, {
    op: { case: 'source', value: { identifier, attrs } },
    platform: { OS: platform.os, Architecture: platform.architecture },
  });
  return {
    digest: digestOf(identifier),
    op,
    inputs: [],
    metadata: undefined,
    name: identifier,
    source: undefined,
  };
}

function context(vertex: Vertex): OpContext {
  const progress = { digest: vertex.digest, report() {}, log() {}, warn() {} };
  return { vertex, session, progress, signal: new AbortController().signal, lease };
}

async function run(vertex: Vertex, maker = imageSource): Promise<{ key: string; ref: Ref; op: Op }> {
  const op = maker(vertex, deps);
  const ctx = context(vertex);
  const { digest } = await op.cacheMap(ctx);
  const [ref] = await op.exec([], ctx);
  return { key: digest, ref: ref!, op };
}

const read = async (ref: Ref, path: string) =>
  readFileIn(openView(await ref.view({ lease })), path)?.toString();

describe('docker-image://', () => {
  test('is keyed by the layers, whatever name and registry they come from', async () => {
    const a = await run(vertexOf(`docker-image://${await putImage(registry.host, 'a:1', one)}`));
    const b = await run(vertexOf(`docker-image://${await putImage(registry.host, 'b:2', one)}`));
    const c = await run(vertexOf(`docker-image://${await putImage(registry.host, 'c:1', two)}`));
    expect(a.key).toBe(b.key);
    expect(a.key).not.toBe(c.key);
    // Nothing was fetched for this but documents.
    expect(await store.content.info(one.layers[0]!.digest)).toBeUndefined();
    expect(await read(a.ref, '/v')).toBe('one');
  });

  test('takes the platform of the op from an index', async () => {
    const ref = await putImage(registry.host, 'multi:1', indexOf([one, arm]));
    expect(await read((await run(vertexOf(`docker-image://${ref}`, {}, arm64))).ref, '/v')).toBe('arm');
    expect(await read((await run(vertexOf(`docker-image://${ref}`))).ref, '/v')).toBe('one');
  });

  test('by default the store’s image goes before the registry’s; `pull` asks the registry', async () => {
    const ref = await putImage(registry.host, 'mode:1', one);
    await pullImage(store, client, ref);
    await putImage(registry.host, 'mode:1', two);
    const id = `docker-image://${ref}`;
    expect(await read((await run(vertexOf(id))).ref, '/v')).toBe('one');
    expect(await read((await run(vertexOf(id, { 'image.resolvemode': 'local' }))).ref, '/v')).toBe('one');
    expect(await read((await run(vertexOf(id, { 'image.resolvemode': 'pull' }))).ref, '/v')).toBe('two');
    // What `local` prefers it can do without.
    const other = `docker-image://${await putImage(registry.host, 'other:1', two)}`;
    expect(await read((await run(vertexOf(other, { 'image.resolvemode': 'local' }))).ref, '/v')).toBe('two');
  });

  test('image.checksum must hold, image.layerlimit cuts', async () => {
    const id = `docker-image://${await putImage(registry.host, 'a:1', one)}`;
    await run(vertexOf(id, { 'image.checksum': one.manifest.digest }));
    await expect(run(vertexOf(id, { 'image.checksum': two.manifest.digest }))).rejects.toMatchObject({
      code: 'corrupt',
    });
    const { ref } = await run(vertexOf(id, { 'image.layerlimit': '1' }));
    expect(await read(ref, '/v')).toBe('one');
    expect(await read(ref, '/w')).toBeUndefined();
    expect(() => imageSource(vertexOf(id, { 'image.magic': '1' }), deps)).toThrow(/image\.magic/);
  });
});

describe('resolveImageConfig', () => {
  const options = () => ({ platform: amd64, pull: 'missing' as const, lease, session });

  test('gives the config and a reference pinned by digest, which then needs no registry', async () => {
    const ref = await putImage(registry.host, 'a:1', one);
    const found = await resolveImageConfig(deps, ref, options());
    expect(found).toMatchObject({ digest: one.manifest.digest, config: one.config, manifest: one.manifest });
    expect(found.ref).toBe(`${ref}@${one.manifest.digest}`);
    await putImage(registry.host, 'a:1', two);
    expect((await resolveImageConfig(deps, found.ref, options())).config).toEqual(one.config);
  });

  test('a digest opens nothing by the name of a repository that it is not known to be of', async () => {
    const ref = await putImage(registry.host, 'mine:1', indexOf([one, arm]));
    const { digest, manifest } = await resolveImageConfig(deps, ref, options());
    const repository = (name: string) => `${registry.host}/${name}@`;
    await putImage(registry.host, 'mine:1', two);
    // Here neither would have to be fetched.
    for (const known of [digest, manifest?.digest]) {
      await resolveImageConfig(deps, repository('mine') + known, options());
      const other = resolveImageConfig(deps, repository('other') + known, options());
      await expect(other).rejects.toMatchObject({ code: 'not-found', hop: 'registry' });
    }
    // What the store has under a name is of that name's repository.
    await store.images.put(`${registry.host}/named:2`, manifest!);
    await resolveImageConfig(deps, repository('named') + manifest!.digest, options());
  });

  test('a platform that is missing is an error that lists those there are', async () => {
    const ref = await putImage(registry.host, 'multi:1', indexOf([one, arm]));
    const looking = resolveImageConfig(deps, ref, {
      ...options(),
      platform: { os: 'linux', architecture: 'riscv64' },
    });
    await expect(looking).rejects.toMatchObject({
      hint: expect.stringContaining('linux/amd64, linux/arm64'),
    });
  });
});

describe('oci-layout://', () => {
  test('comes from a folder of the client’s and does not need it afterwards', async () => {
    writeLayout(join(root, 'layout'), one);
    const name = `whatever/app@${one.manifest.digest}`;
    const found = await resolveImageConfig(deps, name, {
      platform: amd64,
      pull: 'missing',
      lease,
      session,
      ociLayoutStore: 'layout',
    });
    expect(found.config).toEqual(one.config);
    const { ref, key } = await run(
      vertexOf(`oci-layout://${name}`, { 'oci.store': 'layout' }),
      ociLayoutSource,
    );
    rmSync(join(root, 'layout'), { recursive: true });
    expect(await read(ref, '/v')).toBe('one');
    // The same layers from a registry have the same key.
    expect((await run(vertexOf(`docker-image://${await putImage(registry.host, 'a:1', one)}`))).key).toBe(
      key,
    );
  });

  test('comes from a store of a client elsewhere, blob by blob', async () => {
    const blobs: Blobs = new Map(one.blobs);
    blobs.set(one.manifest.digest, one.blobs.get(one.manifest.digest)!);
    const peer = new SessionClient({ stores: { 'oci:there': blobs } });
    const manager = new SessionManager();
    session = joinSession(manager, peer);
    const name = `whatever/app@${one.manifest.digest}`;
    try {
      const at = { platform: amd64, pull: 'missing' as const, lease, session, ociLayoutStore: 'there' };
      expect((await resolveImageConfig(deps, name, at)).config).toEqual(one.config);
      const vertex = vertexOf(`oci-layout://${name}`, { 'oci.store': 'there' });
      const { ref } = await run(vertex, ociLayoutSource);
      expect(await read(ref, '/v')).toBe('one');
      const tagged = vertexOf('oci-layout://whatever/app:1', { 'oci.store': 'there' });
      await expect(run(tagged, ociLayoutSource)).rejects.toMatchObject({
        code: 'invalid',
        hint: expect.stringContaining('@sha256:'),
      });
      const elsewhere = vertexOf(`oci-layout://${name}`, { 'oci.store': 'nowhere' });
      await expect(run(elsewhere, ociLayoutSource)).rejects.toMatchObject({
        code: 'not-found',
        hop: 'session',
      });
      // What a client sends is checked.
      const [layer] = two.layers;
      blobs.set(two.manifest.digest, two.blobs.get(two.manifest.digest)!);
      const config = JSON.parse(String(two.blobs.get(two.manifest.digest))).config.digest as string;
      blobs.set(config, two.blobs.get(config as Digest)!);
      blobs.set(layer!.digest, Buffer.alloc(layer!.size));
      const spoilt = vertexOf(`oci-layout://x@${two.manifest.digest}`, { 'oci.store': 'there' });
      await expect(run(spoilt, ociLayoutSource)).rejects.toMatchObject({ code: 'corrupt' });
    } finally {
      manager.close();
      peer.close();
    }
  });

  test('a blob with wrong bytes, a missing layout and a missing digest are told', async () => {
    const name = `x@${one.manifest.digest}`;
    const vertex = vertexOf(`oci-layout://${name}`, { 'oci.store': 'layout' });
    await expect(run(vertex, ociLayoutSource)).rejects.toMatchObject({ code: 'not-found', hop: 'session' });
    const spoilt = {
      ...one,
      blobs: new Map(one.blobs).set(one.layers[0]!.digest, Buffer.alloc(one.layers[0]!.size)),
    };
    writeLayout(join(root, 'layout'), spoilt);
    await expect(run(vertex, ociLayoutSource)).rejects.toMatchObject({ code: 'corrupt' });
    const unknown = vertexOf(`oci-layout://x@${two.manifest.digest}`, { 'oci.store': 'layout' });
    await expect(run(unknown, ociLayoutSource)).rejects.toMatchObject({ code: 'not-found' });
    const none = vertexOf(`oci-layout://${name}`, { 'oci.store': 'nobody' });
    await expect(run(none, ociLayoutSource)).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('nobody'),
    });
  });
});
