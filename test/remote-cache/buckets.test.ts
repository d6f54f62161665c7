/** Caches without manifests: --cache-to and --cache-from type=s3, type=azblob and type=gha. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { openObjectStore } from '../../src/object-store/index.ts';
import type { WarningEvent } from '../../src/progress/events.ts';
import type { CacheSpec } from '../../src/remote-cache/types.ts';
import type { DockerfileOptions } from '../../src/sdk/build.ts';
import { closePool } from '../../src/workers/pool.ts';
import { type ActionsServer, startActionsCache } from '../kit/actions-cache.ts';
import { Builds, type Files } from '../kit/builds.ts';
import { type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';
import { pushBase } from '../kit/images.ts';
import {
  azureAccount,
  azureKey,
  s3Keys,
  s3Spec,
  startAzurite,
  startS3,
  type TestObjectServer,
} from '../kit/object-stores.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onLocal } from '../kit/stores.ts';

let registry: TestRegistry;
let base: string;
let s3: TestObjectServer;
let proxy: FaultProxy;
let azurite: TestObjectServer;
let actions: ActionsServer;

beforeAll(async () => {
  [registry, s3, azurite, actions] = await Promise.all([
    startRegistry(),
    startS3(),
    startAzurite(),
    startActionsCache(),
  ]);
  proxy = await startFaultProxy(s3.host);
  base = await pushBase(registry.host);
});
afterEach(() => {
  proxy.fault = () => undefined;
  actions.fault = () => false;
});
afterAll(async () => {
  await Promise.all([registry?.stop(), proxy?.stop(), s3?.stop(), azurite?.stop(), actions?.stop()]);
  await closePool();
});

const s3Cache = (name: string, attrs: Record<string, string> = {}): CacheSpec => ({
  type: 's3',
  attrs: {
    ...{
      bucket: 'caches',
      region: 'us-east-1',
      endpoint_url: `http://${proxy.host}`,
      use_path_style: 'true',
    },
    ...{ access_key_id: s3Keys.accessKeyId, secret_access_key: s3Keys.secretAccessKey, name, ...attrs },
  },
});
const azureCache = (name: string, attrs: Record<string, string> = {}): CacheSpec => ({
  type: 'azblob',
  attrs: {
    account_url: `http://${azurite.host}/${azureAccount}`,
    ...{ account_name: azureAccount, container: 'caches', secret_access_key: azureKey, name, ...attrs },
  },
});
const actionsCache = (scope: string, attrs: Record<string, string> = {}): CacheSpec => ({
  type: 'gha',
  attrs: { scope, url_v2: `http://${actions.host}/`, token: actions.token('refs/heads/main'), ...attrs },
});
const kinds = {
  s3: s3Cache,
  azblob: azureCache,
  gha: actionsCache,
  'gha of version 1': (scope: string, attrs: Record<string, string> = {}) =>
    actionsCache(scope, { url: `http://${actions.host}`, url_v2: '', version: '1', ...attrs }),
};

/** Leaves a mark that no second run leaves. */
const mark = (file: string) => `cat /proc/sys/kernel/random/uuid > ${file}`;

onLocal('a cache in a bucket', (store) => {
  const open: Builds[] = [];
  /** A machine that has built nothing yet. */
  const machine = async (cacheBuckets?: string[]) => {
    const builds = new Builds();
    builds.engine = await openEngine({ root: join(builds.dir, 'root'), ...store.options(), cacheBuckets });
    open.push(builds);
    return builds;
  };
  afterEach(async () => {
    for (const builds of open.splice(0)) await builds.close();
  });

  let warnings: WarningEvent[];
  const build = (builds: Builds, text: string, files: Files, options: Partial<DockerfileOptions>) => {
    warnings = [];
    return builds.build(text, files, {
      ...options,
      progress: {
        vertex: (event) => void builds.steps.set(event.name, event),
        warning: (event) => void warnings.push(event),
      },
    });
  };
  /** The steps of the last build that were run. */
  const ran = (builds: Builds) =>
    [...builds.steps.values()].flatMap((step) => {
      const name = /\] ((?:RUN|COPY) .*)/.exec(step.name)?.[1];
      return name !== undefined && step.cached !== true && step.completed !== undefined ? [name] : [];
    });

  const staged = () => `
    FROM ${base} AS one
    RUN mkdir /out && ${mark('/out/one')}
    COPY src /out/src
    FROM ${base}
    RUN ${mark('/three')}
    COPY --from=one /out /out`;
  const files = { 'src/a': 'a' };
  const nameOf = (name: string) => `${store.kind}-${name.replaceAll(' ', '-')}`;

  describe.each(Object.entries(kinds))('type=%s', (kind, cache) => {
    test('what one machine has built, another one finds; and writes nothing that is there', async () => {
      const one = await machine();
      const first = await build(one, staged(), files, { cacheTo: [cache(nameOf(kind), { mode: 'max' })] });
      expect(warnings).toEqual([]);
      const other = await machine();
      const second = await build(other, staged(), files, { cacheFrom: [cache(nameOf(kind))] });
      expect(warnings).toEqual([]);
      expect(ran(other)).toEqual([]);
      for (const path of ['/out/one', '/out/src/a', '/three'])
        expect(second.read(path)).toBe(first.read(path));
      // The same cache again: no layer is sent.
      proxy.asked.length = 0;
      actions.asked.length = 0;
      await build(one, staged(), files, { cacheTo: [cache(nameOf(kind), { mode: 'max' })] });
      expect(proxy.asked.filter((each) => /^PUT .*blobs/.test(each))).toEqual([]);
      expect(actions.asked.filter((each) => each.startsWith('PUT /up/')).length).toBeLessThanOrEqual(1);
    });

    test('a layer that is gone is made again, and a cache that is not there is a warning', async () => {
      const other = await machine();
      await build(other, staged(), files, { cacheFrom: [cache(nameOf(`${kind} none`))] });
      expect(ran(other)).toHaveLength(4);
      expect(warnings.map(({ short }) => short).join()).toMatch(
        /importing cache from \S+: there is no cache of this name; the build goes on without it/,
      );
    });
  });

  test('compressions, and several names', async () => {
    const one = await machine();
    const name = `${nameOf('a')};${nameOf('b')}`;
    await build(one, staged(), files, { cacheTo: [s3Cache(name, { compression: 'zstd', prefix: 'z/' })] });
    const bucket = await openObjectStore(s3Spec(s3.host));
    const { stream } = await bucket.get(`z/manifests/${nameOf('b')}`);
    const { layers } = JSON.parse(Buffer.concat(await stream.toArray()).toString()) as {
      layers: { blob: string; annotations: Record<string, unknown> }[];
    };
    // BuildKit's form: there is no manifest beside it.
    expect(layers.map(({ annotations }) => Object.keys(annotations).sort())).toEqual(
      layers.map(() => ['createdAt', 'diffID', 'mediaType', 'size']),
    );
    expect(layers.some(({ annotations }) => String(annotations.mediaType).endsWith('+zstd'))).toBe(true);
    for (const { blob, annotations } of layers) {
      expect(await bucket.head(`z/blobs/${blob}`)).toMatchObject({ size: annotations.size });
    }
    bucket.close();
    const other = await machine();
    await build(other, staged(), files, { cacheFrom: [s3Cache(nameOf('a'), { prefix: 'z/' })] });
    // mode=min has no layers of the other stage.
    expect(ran(other)).toEqual([]);
  });

  test.each([
    ['estargz', 'containerd.io/snapshot/stargz/toc.digest'],
    ['zstdchunked', 'io.github.containers.zstd-chunked.manifest-checksum'],
  ])(
    'layers as %s have files that can be read one by one, after the journey too',
    async (compression, mark) => {
      const one = await machine();
      const name = nameOf(compression);
      await build(one, staged(), files, { cacheTo: [s3Cache(name, { compression, mode: 'max' })] });
      const other = await machine();
      await build(other, staged(), files, {
        cacheFrom: [s3Cache(name)],
        cacheTo: [s3Cache(`${name}-again`, { mode: 'max' })],
      });
      expect(ran(other)).toEqual([]);
      const bucket = await openObjectStore(s3Spec(s3.host));
      const marksOf = async (each: string) => {
        const { stream } = await bucket.get(`manifests/${each}`);
        const { layers } = JSON.parse(Buffer.concat(await stream.toArray()).toString()) as {
          layers: { blob: string; annotations: { chunked?: Record<string, string> } }[];
        };
        return layers.map(({ blob, annotations }) => [blob, annotations.chunked?.[mark]]).sort();
      };
      const marks = await marksOf(name);
      // The base image was pulled, and stays as it is.
      expect(marks.filter(([, value]) => value !== undefined)).toHaveLength(4);
      expect(await marksOf(`${name}-again`)).toEqual(marks);
      bucket.close();
    },
  );

  test('cache mounts travel in it, too', async () => {
    const text = `FROM ${base}\nRUN --mount=type=cache,id=m,target=/m ${mark('/m/x')}`;
    const one = await machine();
    await build(one, text, {}, { cacheTo: [s3Cache(nameOf('m'), { mounts: 'true' })] });
    const other = await machine();
    const cat = `FROM ${base}\nRUN --mount=type=cache,id=m,target=/m cp /m/x /x`;
    const { read } = await build(other, cat, {}, { cacheFrom: [s3Cache(nameOf('m'))] });
    expect(read('/x')).toMatch(/^[0-9a-f-]{36}/);
  });
});

describe('on a bad day', () => {
  const builds = new Builds();
  let warnings: WarningEvent[] = [];
  beforeAll(async () => {
    builds.engine = await openEngine({ root: join(builds.dir, 'root'), cacheBuckets: ['s3://own'] });
  });
  afterAll(() => builds.close());
  const build = (options: Partial<DockerfileOptions>) => {
    warnings = [];
    return builds.build(
      `FROM ${base}\nRUN ${mark('/x')}`,
      {},
      {
        ...options,
        progress: { warning: (event) => void warnings.push(event) },
      },
    );
  };
  const denied = {
    status: 403,
    body: '<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>',
  };

  test('a cache that may not be read is a warning with the place and the remedy', async () => {
    proxy.fault = () => denied;
    await build({ cacheFrom: [s3Cache('x')] });
    expect(warnings).toEqual([
      expect.objectContaining({
        short: expect.stringMatching(
          /^importing cache from http:\S+\/caches\/manifests\/x: reading manifests\/x of s3:\/\/caches: the store answered 403 \(AccessDenied: Access Denied\); the build goes on without it$/,
        ),
        detail: [expect.stringContaining('s3:ListBucket')],
      }),
    ]);
  });

  test('a cache that cannot be written fails the build, unless its errors are to be ignored', async () => {
    proxy.fault = () => denied;
    await expect(build({ cacheTo: [s3Cache('x')] })).rejects.toMatchObject({ code: 'denied', hop: 'bucket' });
    await build({ cacheTo: [s3Cache('x', { 'ignore-error': 'true' })] });
    expect(warnings.map(({ short }) => short).join()).toContain('the store answered 403 (AccessDenied');
  });

  test('the Actions cache asks for fewer requests: it is asked again when it says so', async () => {
    let refusals = 2;
    actions.fault = (request, response) => {
      if (refusals === 0 || !request.url?.includes('CacheService')) return false;
      refusals--;
      response.writeHead(429, { 'retry-after': '1' }).end();
      return true;
    };
    await build({ cacheTo: [actionsCache('throttled')] });
    expect(actions.entries.some(({ key }) => key.startsWith('index-throttled-1-'))).toBe(true);
    expect(refusals).toBe(0);
  });

  test('the Actions cache lists late: the next index has the next number all the same', async () => {
    actions.entries.splice(0);
    await build({ cacheTo: [actionsCache('late')] });
    const before = actions.entries.length;
    const made = () => actions.asked.filter((each) => each.includes('CreateCacheEntry')).length;
    // Nothing is found until each layer and the index have been tried to be written once more.
    const tried = made() + before;
    actions.fault = (request, response) => {
      if (made() >= tried || !request.url?.includes('GetCacheEntryDownloadURL')) return false;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":false}');
      return true;
    };
    await build({ cacheTo: [actionsCache('late')] });
    expect(made()).toBeGreaterThan(tried);
    expect(actions.entries).toHaveLength(before + 1);
    const keys = actions.entries.map(({ key }) => key);
    expect(keys.filter((key) => key.startsWith('index-late-1-')).map((key) => key.split('#')[1])).toEqual([
      '1',
      '2',
    ]);
  });

  test('one that asks for a longer wait than timeout= is an error, and never a hang', async () => {
    actions.fault = (_request, response) => {
      response.writeHead(429, { 'retry-after': '100' }).end();
      return true;
    };
    await expect(build({ cacheTo: [actionsCache('long', { timeout: '5s' })] })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('the store answered 429'),
    });
  });

  test('a branch reads its own index and that of the default branch; a fork may not write', async () => {
    await build({ cacheTo: [actionsCache('branches')] });
    const fork = actions.token('refs/pull/1/merge', { readOnly: true });
    await build({ cacheFrom: [actionsCache('branches', { token: fork })] });
    expect(warnings).toEqual([]);
    await expect(build({ cacheTo: [actionsCache('branches', { token: fork })] })).rejects.toMatchObject({
      code: 'denied',
      hint: expect.stringContaining('ignore-error=true'),
    });
  });

  test('a token that has ended says so; without any, the build goes on as with docker buildx', async () => {
    const ended = actionsCache('x', { token: actions.token('refs/heads/main', { endsIn: -10 }) });
    await expect(build({ cacheTo: [ended] })).rejects.toMatchObject({ code: 'unauthenticated' });
    await build({ cacheTo: [{ type: 'gha', attrs: {} }] });
    expect(warnings.map(({ short }) => short).join()).toContain('token= is missing');
  });

  test("this machine's own credentials are for the buckets alone that its operator names", async () => {
    const own = { type: 's3', attrs: { bucket: 'other', region: 'us-east-1' } };
    await expect(build({ cacheTo: [own] })).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining("this daemon's own credentials are not for s3://other"),
    });
    // Nor at an endpoint of the client's choice, which would see them.
    const stolen = { ...own.attrs, bucket: 'own', endpoint_url: `http://${proxy.host}` };
    proxy.asked.length = 0;
    await expect(build({ cacheTo: [{ type: 's3', attrs: stolen }] })).rejects.toMatchObject({
      code: 'denied',
    });
    expect(proxy.asked).toEqual([]);
  });

  test.each([
    [{ type: 's3', attrs: { region: 'r' } }, 'bucket= is missing'],
    [{ type: 's3', attrs: { bucket: 'b' } }, 'region= is missing'],
    [{ type: 's3', attrs: { bucket: 'b', region: 'r', access_key_id: 'x' } }, 'go together'],
    [{ type: 's3', attrs: { bucket: 'b', region: 'r', upload_parallelism: '0' } }, 'positive integer'],
    [{ type: 's3', attrs: { bucket: 'b', region: 'r', retry_mode: 'x' } }, 'standard or adaptive'],
    [{ type: 'azblob', attrs: {} }, 'account_url= is missing'],
    [{ type: 'azblob', attrs: { account_url: 'x' } }, 'no URL'],
    [{ type: 'gha', attrs: { token: 'x' } }, 'url= or url_v2= is missing'],
    [{ type: 'gha', attrs: { token: 'x', url: 'http://x', timeout: 'x' } }, 'no duration'],
  ])('%j is refused', async (spec, why) => {
    await expect(build({ cacheTo: [spec as CacheSpec] })).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining(why),
    });
  });
});
