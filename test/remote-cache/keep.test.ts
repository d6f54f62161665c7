/** --cache-to …,keep=N,max-size=SIZE: older exports of a cache are removed. */
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import type { StoreOptions } from '../../src/engine/store-options.ts';
import { type ObjectStore, openObjectStore } from '../../src/object-store/index.ts';
import type { WarningEvent } from '../../src/progress/events.ts';
import { RegistryClient } from '../../src/registry/index.ts';
import { keepingIn } from '../../src/remote-cache/keeping/client-folder.ts';
import { howMany } from '../../src/remote-cache/keeping/rule.ts';
import type { CacheSpec } from '../../src/remote-cache/types.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';
import { pushBase } from '../kit/images.ts';
import {
  azureAccount,
  azureKey,
  azureSpec,
  s3Keys,
  s3Spec,
  startAzurite,
  startS3,
  type TestObjectServer,
} from '../kit/object-stores.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onLocal } from '../kit/stores.ts';

let registry: TestRegistry;
let front: FaultProxy;
let base: string;
let s3: TestObjectServer;
let proxy: FaultProxy;
let azureProxy: FaultProxy;
let azurite: TestObjectServer;
let buckets: { s3: ObjectStore; azblob: ObjectStore };
const client = new RegistryClient({ userAgent: 'test' });

beforeAll(async () => {
  [registry, s3, azurite] = await Promise.all([startRegistry(), startS3(), startAzurite()]);
  [proxy, azureProxy, front] = await Promise.all([
    startFaultProxy(s3.host),
    startFaultProxy(azurite.host),
    startFaultProxy(registry.host),
  ]);
  base = await pushBase(registry.host);
  buckets = {
    s3: await openObjectStore(s3Spec(s3.host)),
    azblob: await openObjectStore(azureSpec(azurite.host)),
  };
});
afterEach(() => {
  proxy.fault = () => undefined;
  azureProxy.fault = () => undefined;
  front.fault = () => undefined;
});
afterAll(async () => {
  client.close();
  buckets?.s3.close();
  buckets?.azblob.close();
  await Promise.all([
    proxy?.stop(),
    azureProxy?.stop(),
    front?.stop(),
    registry?.stop(),
    s3?.stop(),
    azurite?.stop(),
  ]);
  await closePool();
});

/** A place of caches: how it is named, and what there is. */
interface Place {
  to(builds: Builds, name: string, attrs: Record<string, string>): CacheSpec;
  from(builds: Builds, name: string): CacheSpec;
  /** What is there and would be in the way if nobody removed it. */
  has(builds: Builds, name: string): Promise<string[]>;
}

const bucketPlace = (type: 's3' | 'azblob', attrs: () => Record<string, string>): Place => {
  const spec = (name: string, more = {}): CacheSpec => ({
    type,
    attrs: { ...attrs(), prefix: `${name}/`, name: 'main', ...more },
  });
  return {
    to: (_builds, name, more) => spec(name, more),
    from: (_builds, name) => spec(name),
    async has(_builds, name) {
      const keys: string[] = [];
      for await (const page of buckets[type].list(`${name}/blobs/`)) keys.push(...page.map(({ key }) => key));
      return keys;
    },
  };
};
const places: Record<string, Place> = {
  s3: bucketPlace('s3', () => ({
    ...{
      bucket: 'caches',
      region: 'us-east-1',
      endpoint_url: `http://${proxy.host}`,
      use_path_style: 'true',
    },
    ...{ access_key_id: s3Keys.accessKeyId, secret_access_key: s3Keys.secretAccessKey },
  })),
  azblob: bucketPlace('azblob', () => ({
    ...{ account_url: `http://${azureProxy.host}/${azureAccount}`, account_name: azureAccount },
    ...{ container: 'caches', secret_access_key: azureKey },
  })),
  local: {
    to: (builds, name, attrs) => ({ type: 'local', attrs: { dest: join(builds.dir, name), ...attrs } }),
    from: (builds, name) => ({ type: 'local', attrs: { src: join(builds.dir, name) } }),
    has: async (builds, name) => {
      const dir = join(builds.dir, name, 'blobs/sha256');
      return existsSync(dir) ? readdirSync(dir) : [];
    },
  },
};

const workshop = (options: () => Omit<StoreOptions, 'root'>) => {
  const open: Builds[] = [];
  const machine = async () => {
    const builds = new Builds();
    builds.engine = await openEngine({ root: join(builds.dir, 'root'), ...options() });
    open.push(builds);
    return builds;
  };
  afterEach(async () => {
    for (const builds of open.splice(0)) await builds.close();
  });

  let warnings: WarningEvent[];
  let steps: { name: string; cached?: boolean }[];
  const build = async (
    builds: Builds,
    text: string,
    caches: { cacheTo?: CacheSpec[]; cacheFrom?: CacheSpec[] },
  ) => {
    warnings = [];
    const seen = new Map<string, { name: string; cached?: boolean }>();
    await builds.build(
      `FROM ${base}\nCOPY f /f`,
      { f: text },
      {
        ...caches,
        progress: {
          vertex: (event) => void seen.set(event.name, event),
          warning: (event) => void warnings.push(event),
        },
      },
    );
    steps = [...seen.values()];
  };
  const wasCached = () => steps.find(({ name }) => name.includes('COPY'))?.cached === true;
  return { machine, build, warnings: () => warnings, wasCached };
};

onLocal('older exports of a cache', (store) => {
  const { machine, build, warnings, wasCached } = workshop(() => store.options());

  describe.each(Object.entries(places))('type=%s', (kind, place) => {
    test('keep=2: what the newest two need stays, whatever came before goes', async () => {
      const name = `${store.kind}-${kind}-two`;
      const one = await machine();
      const to = place.to(one, name, { keep: '2' });
      const after: string[][] = [];
      for (const text of ['1', '2', '3']) {
        await build(one, text, { cacheTo: [to] });
        expect(warnings()).toEqual([]);
        after.push(await place.has(one, name));
      }
      const [first = [], second = [], third = []] = after;
      // All of the first is there with the second, and only what they share is with the third.
      expect(second).toEqual(expect.arrayContaining(first));
      expect(first.filter((blob) => !third.includes(blob)).length).toBeGreaterThan(0);
      for (const blob of second) if (!first.includes(blob)) expect(third).toContain(blob);
      // The same export again is no further one.
      await build(one, '3', { cacheTo: [to] });
      await build(one, '3', { cacheTo: [to] });
      expect((await place.has(one, name)).sort()).toEqual(third.sort());
      // The newest is whole: another machine finds it.
      const other = await machine();
      await build(other, '3', { cacheFrom: [place.from(one, name)] });
      expect(warnings()).toEqual([]);
      expect(wasCached()).toBe(true);
    });

    test('max-size: the newest stays, however large', async () => {
      const name = `${store.kind}-${kind}-size`;
      const one = await machine();
      for (const text of ['1', '2', '3']) {
        await build(one, text, {
          cacheTo: [place.to(one, name, { 'max-size': text === '3' ? '1k' : '1g' })],
        });
      }
      const left = await place.has(one, name);
      const alone = `${name}-alone`;
      await build(one, '3', { cacheTo: [place.to(one, alone, {})] });
      const digest = (key: string) => key.split('/').pop();
      expect(left.map(digest).sort()).toEqual((await place.has(one, alone)).map(digest).sort());
      expect(warnings()).toEqual([]);
    });
  });

  test('a registry: manifests of older exports are deleted, others of the repository stay', async () => {
    const one = await machine();
    const repository = `${registry.host}/${store.kind}-keep`;
    const to = { type: 'registry', attrs: { ref: `${repository}:cache`, keep: '2' } };
    const digests: string[] = [];
    const isThere = (digest: string) =>
      client.manifest(`${repository}@${digest}`).then(
        () => true,
        () => false,
      );
    for (const text of ['1', '2', '3', '4', '4']) {
      await build(one, text, { cacheTo: [to] });
      expect(warnings()).toEqual([]);
      const { descriptor, bytes } = await client.manifest(`${repository}:cache`);
      digests.push(descriptor.digest);
      // Somebody gives the second one a name of its own.
      if (text === '2') await client.pushManifest(`${repository}:mine`, descriptor, bytes);
    }
    expect(digests[3]).toBe(digests[4]);
    expect(await Promise.all(digests.map(isThere))).toEqual([false, true, true, true, true]);
    await client.resolve(`${repository}:mine`);
    const other = await machine();
    await build(other, '4', { cacheFrom: [{ type: 'registry', attrs: { ref: `${repository}:cache` } }] });
    expect(wasCached()).toBe(true);
    // By size, only the newest fits.
    await build(one, '5', { cacheTo: [{ ...to, attrs: { ...to.attrs, 'max-size': '1k' } }] });
    expect(await Promise.all(digests.slice(2).map(isThere))).toEqual([false, false, false]);
  });
});

describe('older exports', () => {
  const { machine, build, warnings, wasCached } = workshop(() => ({}));
  const s3Place = places.s3 as Place;

  test('caches of other names keep what they need', async () => {
    const name = `others`;
    const one = await machine();
    // One written without a rule, as BuildKit writes them, and one with.
    await build(one, '1', { cacheTo: [s3Place.to(one, name, { name: 'plain' })] });
    await build(one, '2', { cacheTo: [s3Place.to(one, name, { name: 'other', keep: '1' })] });
    for (const text of ['1', '2', '3'])
      await build(one, text, { cacheTo: [s3Place.to(one, name, { keep: '1' })] });
    for (const [text, cache] of [
      ['1', 'plain'],
      ['2', 'other'],
      ['3', 'main'],
    ] as const) {
      const other = await machine();
      await build(other, text, { cacheFrom: [s3Place.to(other, name, { name: cache })] });
      expect([text, wasCached()]).toEqual([text, true]);
    }
  });

  test('an export without a rule, as BuildKit writes it, counts as an older one', async () => {
    const one = await machine();
    const name = 'adopted';
    const after: string[][] = [];
    for (const [text, attrs] of [
      ['1', {}],
      ['2', { keep: '2' }],
      ['3', {}],
      ['4', { keep: '2' }],
      ['5', { keep: '1' }],
    ] as const) {
      await build(one, text, { cacheTo: [s3Place.to(one, name, attrs)] });
      expect(warnings()).toEqual([]);
      after.push(await s3Place.has(one, name));
    }
    const [first = [], second = [], third = [], fourth = [], fifth = []] = after;
    const added = (blobs: string[], before: string[]) => blobs.filter((blob) => !before.includes(blob));
    expect(second).toEqual(expect.arrayContaining(first));
    for (const blob of added(third, second)) expect(fourth).toContain(blob);
    for (const blob of added(second, first)) expect(fourth).not.toContain(blob);
    expect(fifth).toHaveLength(first.length);
  });

  test('a bucket that refuses, or breaks off in the middle, loses nothing; the next export goes on', async () => {
    const name = `refused`;
    const one = await machine();
    const to = s3Place.to(one, name, { keep: '1' });
    await build(one, '1', { cacheTo: [to] });
    const first = await s3Place.has(one, name);
    proxy.fault = (request) =>
      request.method === 'POST' && request.url?.includes('delete')
        ? { status: 403, body: '<Error><Code>AccessDenied</Code><Message>no</Message></Error>' }
        : undefined;
    await build(one, '2', { cacheTo: [to] });
    expect(
      warnings()
        .map(({ short }) => short)
        .join(),
    ).toMatch(/cache-to: .*could not be removed: .*403 \(AccessDenied: no\)/);
    expect(await s3Place.has(one, name)).toEqual(expect.arrayContaining(first));
    proxy.fault = () => undefined;
    await build(one, '2', { cacheTo: [to] });
    expect(warnings()).toEqual([]);
    const left = await s3Place.has(one, name);
    expect(first.some((blob) => !left.includes(blob))).toBe(true);
  });

  test.each([
    ['s3', 'list-type', '<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'],
    ['azblob', 'comp=list', '<EnumerationResults><Blobs></Blobs><NextMarker/></EnumerationResults>'],
  ] as const)('%s, when it lists late: nothing is removed by what it says', async (kind, mark, empty) => {
    const name = `late-${kind}`;
    const one = await machine();
    const place = places[kind] as Place;
    const through = kind === 's3' ? proxy : azureProxy;
    const to = place.to(one, name, { keep: '1' });
    await build(one, '1', { cacheTo: [to] });
    const first = await place.has(one, name);
    let lists = 0;
    through.fault = (request) => {
      if (!request.url?.includes(mark)) return undefined;
      lists++;
      return { status: 200, body: empty };
    };
    await build(one, '2', { cacheTo: [to] });
    expect(lists).toBeGreaterThan(0);
    expect(warnings()).toEqual([]);
    expect(await place.has(one, name)).toEqual(expect.arrayContaining(first));
  });

  test('what an export under way has named stays', async () => {
    const name = `beside`;
    const one = await machine();
    const to = s3Place.to(one, name, { keep: '1' });
    await build(one, '1', { cacheTo: [to] });
    const first = await s3Place.has(one, name);
    const blobs = first.map((key) => [key.split('/').pop(), 1]);
    const coming = `${name}/manifests/main.exports/coming-${new Date().toISOString()}-0`;
    await buckets.s3.put(coming, Buffer.from(JSON.stringify({ config: `sha256:${'0'.repeat(64)}`, blobs })));
    await build(one, '2', { cacheTo: [to] });
    expect(await s3Place.has(one, name)).toEqual(expect.arrayContaining(first));
    await buckets.s3.delete([coming]);
  });

  test('a document below the prefix that is no config: nothing is removed, and it is named', async () => {
    const name = `foreign`;
    const one = await machine();
    const to = s3Place.to(one, name, { keep: '1' });
    await build(one, '1', { cacheTo: [to] });
    await buckets.s3.put(`${name}/manifests/readme`, Buffer.from('hello'));
    const first = await s3Place.has(one, name);
    await build(one, '2', { cacheTo: [to] });
    expect(
      warnings()
        .map(({ short }) => short)
        .join(),
    ).toMatch(/could not be removed: .*manifests\/readme/);
    expect(await s3Place.has(one, name)).toEqual(expect.arrayContaining(first));
  });

  test('a registry that lets nothing be deleted is a warning that says so, each time; later all goes', async () => {
    const one = await machine();
    const to = { type: 'registry', attrs: { ref: `${front.host}/refuses:cache`, keep: '1' } };
    front.fault = (request) =>
      request.method === 'DELETE'
        ? {
            status: 405,
            body: '{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}',
          }
        : undefined;
    const digests: string[] = [];
    const note = async () => digests.push((await client.resolve(`${registry.host}/refuses:cache`)).digest);
    await build(one, '1', { cacheTo: [to] });
    expect(warnings()).toEqual([]);
    await note();
    for (const text of ['2', '3']) {
      await build(one, text, { cacheTo: [to] });
      expect(warnings()).toEqual([
        expect.objectContaining({
          short: expect.stringMatching(/could not be removed: deleting .*answered 405 \(UNSUPPORTED/),
          detail: [expect.stringContaining('storage.delete.enabled')],
        }),
      ]);
      await note();
    }
    front.fault = () => undefined;
    await build(one, '4', { cacheTo: [to] });
    expect(warnings()).toEqual([]);
    for (const digest of digests) {
      await expect(client.manifest(`${registry.host}/refuses@${digest}`)).rejects.toMatchObject({
        code: 'not-found',
      });
    }
  });

  test('a folder: names of their own, an image beside, and what was left over long ago', async () => {
    const one = await machine();
    const dir = join(one.dir, 'shared');
    const to = (tag: string) => ({ type: 'local', attrs: { dest: dir, tag, keep: '1' } });
    await build(one, '1', { cacheTo: [to('a')] });
    await build(one, '2', { cacheTo: [to('b')] });
    const left = join(dir, 'blobs/sha256', 'f'.repeat(64));
    const young = join(dir, 'blobs/sha256', 'e'.repeat(64));
    for (const file of [left, young]) writeFileSync(file, 'x');
    utimesSync(left, 1, 1);
    await build(one, '3', { cacheTo: [to('a')] });
    expect([left, young].map((file) => existsSync(file))).toEqual([false, true]);
    for (const [text, tag, hit] of [
      ['1', 'a', false],
      ['2', 'b', true],
      ['3', 'a', true],
    ] as const) {
      const other = await machine();
      await build(other, text, { cacheFrom: [{ type: 'local', attrs: { src: dir, tag } }] });
      expect([text, wasCached()]).toEqual([text, hit]);
    }
    expect(JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')).manifests).toHaveLength(2);
  });

  test('a folder of which a builder has removed an older export for another client', async () => {
    const one = await machine();
    const dir = join(one.dir, 'both');
    const to = { type: 'local', attrs: { dest: dir, keep: '9' } };
    for (const text of ['1', '2']) await build(one, text, { cacheTo: [to] });
    const entries = () => JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')).manifests;
    const [older] = entries();
    rmSync(join(dir, 'blobs/sha256', older.digest.slice('sha256:'.length)));
    await build(one, '3', { cacheTo: [to] });
    expect(warnings()).toEqual([]);
    expect(entries()).toHaveLength(2);
  });

  test('a folder at a client that lets nobody see to it', async () => {
    const content = { size: async () => undefined, read: () => expect.unreachable(), write: async () => {} };
    const { signal } = new AbortController();
    expect(() => keepingIn(content, { folder: '/out', tag: 'latest' }, { count: 1 }, signal)).toThrow(
      expect.objectContaining({ code: 'unsupported', message: expect.stringContaining('keep=') }),
    );
  });
});

describe('the attributes', () => {
  const builds = new Builds();
  beforeAll(async () => {
    builds.engine = await openEngine({ root: join(builds.dir, 'root') });
  });
  afterAll(() => builds.close());

  test.each([
    [{ type: 'registry', attrs: { ref: 'x', keep: '0' } }, 'keep= is a number'],
    [{ type: 'local', attrs: { dest: '/nonexistent/x', keep: 'all' } }, 'keep= is a number'],
    [{ type: 'registry', attrs: { ref: 'x', 'max-size': 'huge' } }, 'max-size= is no size'],
    [
      { type: 'registry', attrs: { ref: 'x', keep: '1', 'oci-mediatypes': 'false' } },
      'need oci-mediatypes=true',
    ],
    [{ type: 'local', attrs: { dest: '/nonexistent/x', keep: '1', reset: 'true' } }, 'reset='],
    [{ type: 'gha', attrs: { token: 'x', url: 'http://x', keep: '1' } }, 'keep= is not supported'],
    [{ type: 'inline', attrs: { 'max-size': '1g' } }, 'max-size= is not supported'],
  ])('%j is refused', async (spec, why) => {
    await expect(
      builds.build('FROM scratch\nCOPY f /', { f: '' }, { cacheTo: [spec as CacheSpec] }),
    ).rejects.toMatchObject({ message: expect.stringContaining(why) });
  });

  test('a blob that exports share counts once', () => {
    const blob = (name: string, size: number) => ({ digest: `sha256:${name}` as const, size });
    const exports = [[blob('a', 5), blob('b', 5)], [blob('a', 5), blob('c', 5)], [blob('d', 1)]];
    const kept = [1, 10, 14, 15, 16].map((bytes) => howMany(exports, { bytes }));
    expect(kept).toEqual([1, 1, 1, 2, 3]);
    expect(howMany(exports, { count: 2, bytes: 100 })).toBe(2);
    expect(howMany([], { count: 2 })).toBe(0);
  });
});
