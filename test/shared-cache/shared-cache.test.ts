/** A fleet's cache: `--shared-cache`. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runBuild } from '../../src/engine/build.ts';
import { dockerfileBuild } from '../../src/engine/dockerfile-build.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { openObjectStore } from '../../src/object-store/index.ts';
import { estargzAnnotations } from '../../src/oci/chunk-annotations.ts';
import type { Descriptor } from '../../src/oci/types.ts';
import { inProcessSession } from '../../src/session/in-process.ts';
import { encodeEntry, parseEntry } from '../../src/shared-cache/entry.ts';
import { parseSharedCache } from '../../src/shared-cache/spec.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds, type Files } from '../kit/builds.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon } from '../kit/daemon.ts';
import { startFaultProxy } from '../kit/fault-proxy.ts';
import {
  azureAccount,
  azureKey,
  azureSpec,
  s3Keys,
  startAzurite,
  startS3,
  type TestObjectServer,
} from '../kit/object-stores.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

const top = mkdtempSync(join(tmpdir(), 'drydock-shared-'));
const baseFolder = join(top, 'base');
let registry: TestRegistry;
let s3: TestObjectServer;
let azurite: TestObjectServer;
beforeAll(async () => {
  busyboxRoot(baseFolder);
  [registry, s3, azurite] = await Promise.all([startRegistry(), startS3(), startAzurite()]);
});
afterAll(async () => {
  await Promise.all([registry.stop(), s3.stop(), azurite.stop()]);
  rmSync(top, { recursive: true, force: true });
  await closePool();
});

/** Leaves a mark that no second run leaves. */
const mark = (file: string) => `cat /proc/sys/kernel/random/uuid > ${file}`;
const text = `
  FROM scratch AS base
  COPY base /
  ENV PATH=/bin
  FROM base AS one
  RUN mkdir /out && ${mark('/out/one')}
  FROM base
  COPY src /src
  RUN ${mark('/two')}
  COPY --from=one /out /out
  RUN cat /out/one /two > /both`;
const steps = 6;

onStores('a shared cache', (store) => {
  const open: Builds[] = [];
  let said: string[] = [];
  afterEach(async () => {
    for (const builds of open.splice(0)) await builds.close();
    said = [];
  });
  /** A builder of the fleet that has built nothing yet. */
  const builder = async (place: string, env: Record<string, string> = {}) => {
    const builds = new Builds();
    const spec = parseSharedCache(place, env);
    const credentials = async () => undefined;
    const say = (line: string) => void said.push(line);
    builds.engine = await openEngine({
      ...{ root: join(builds.dir, 'root'), ...store.options() },
      sharedCache: { spec, credentials, say, wait: 60_000 },
    });
    open.push(builds);
    return builds;
  };
  /** The steps of the last build that were run, or that were cached. */
  const count = (builds: Builds, cached: boolean) =>
    [...builds.steps.values()].filter(
      (step) => /\] (RUN|COPY) /.test(step.name) && (step.cached ?? false) === cached && step.completed,
    ).length;
  const run = async (builds: Builds, files: Files = { 'src/a': '1' }, dockerfile = text) => {
    const context = builds.context(files);
    cpSync(baseFolder, join(context, 'base'), { recursive: true, verbatimSymlinks: true });
    const built = await builds.build(dockerfile, {}, { context });
    // Read now: the builder may be gone when it is looked at.
    const both = built.stat('/both') === undefined ? '' : built.read('/both');
    const out = built.stat('/out') === undefined ? [] : built.list('/out');
    return { both, out, ran: count(builds, false), cached: count(builds, true) };
  };
  /** Lets a builder go, which has written all then. */
  const leave = async (builds: Builds) => {
    open.splice(open.indexOf(builds), 1);
    await builds.close();
  };
  const folderOf = (name: string) => join(top, `${store.kind}-${name}`);
  const dirOf = (name: string) => `dir:${folderOf(name)}`;

  const places: [string, () => [string, Record<string, string>?]][] = [
    ['a folder', () => [dirOf('folder')]],
    ['a repository', () => [`${registry.host}/fleet/${store.kind}`]],
    [
      'a bucket of S3',
      () => [
        `s3://caches/${store.kind}?region=us-east-1&use_path_style=true&endpoint_url=http://${s3.host}`,
        { AWS_ACCESS_KEY_ID: s3Keys.accessKeyId, AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey },
      ],
    ],
    [
      'a container of Azure',
      () => [
        `azblob://${azureAccount}/fleet/${store.kind}?account_url=http://${azurite.host}/${azureAccount}`,
        { AZURE_STORAGE_KEY: azureKey },
      ],
    ],
  ];
  test.each(places)('%s: what one has built the others find', async (name, place) => {
    // The machine's keys are read from the environment of the process.
    const [at, env = {}] = place();
    Object.assign(process.env, env);
    try {
      const one = await builder(at, env);
      const first = await run(one);
      expect([first.ran, first.cached]).toEqual([steps, 0]);
      await leave(one);
      const two = await builder(at, env);
      const second = await run(two);
      expect([second.ran, second.cached]).toEqual([0, steps]);
      expect(first.both).toMatch(/^.{36}\n.{36}\n$/);
      expect(second.both).toBe(first.both);
      expect(said).toEqual([]);
      if (name !== 'a folder') return;

      // What changed is run, and nothing else; the next one finds that as well.
      const third = await run(two, { 'src/a': '2' });
      expect([third.ran, third.cached]).toEqual([4, 2]);
      await leave(two);
      const three = await builder(at);
      expect((await run(three, { 'src/a': '2' })).ran).toBe(0);
      // From its own cache now: a place that is gone costs a cached build nothing.
      rmSync(folderOf('folder'), { recursive: true });
      const again = await run(three, { 'src/a': '2' });
      expect(again.ran).toBe(0);
      expect(said).toEqual([]);
    } finally {
      for (const key of Object.keys(env)) delete process.env[key];
    }
  });

  test('a layer that many steps stand on is looked for and sent once', async () => {
    const proxy = await startFaultProxy(azurite.host);
    // The container is there: the first object needs no second try.
    const container = await openObjectStore({ ...azureSpec(azurite.host), container: 'fleet' });
    await container.put('made', Buffer.from('made'));
    container.close();
    process.env.AZURE_STORAGE_KEY = azureKey;
    try {
      const at = `azblob://${azureAccount}/fleet/${store.kind}-once?account_url=http://${proxy.host}/${azureAccount}`;
      const one = await builder(at, { AZURE_STORAGE_KEY: azureKey });
      await run(one);
      await leave(one);
      for (const method of ['HEAD', 'PUT']) {
        const asked = proxy.asked.filter((each) => new RegExp(`^${method} .*/blobs/`).test(each));
        expect(asked.length).toBeGreaterThanOrEqual(5);
        expect(asked).toEqual([...new Set(asked)]);
      }
      expect(said).toEqual([]);
    } finally {
      delete process.env.AZURE_STORAGE_KEY;
      await proxy.stop();
    }
  });

  // The rest makes no difference to the store.
  if (store.kind === 'containerd') return;

  test('layers of a base image whose files can be read one by one stay such', async () => {
    const at = dirOf('chunked');
    const name = `${registry.host}/chunked/${store.kind}`;
    const push = (builds: Builds, tag: string, text: string, attrs: Record<string, string>) => {
      const output = { type: 'image', attrs: { name: `${name}:${tag}`, push: 'true', ...attrs } } as const;
      return builds.build(text, { f: 'f' }, { outputs: [output], tags: [`${name}:${tag}`] });
    };
    const marksOf = async (tag: string) => {
      const answer = await fetch(`http://${registry.host}/v2/chunked/${store.kind}/manifests/${tag}`, {
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
      });
      const { layers } = (await answer.json()) as { layers: Descriptor[] };
      return layers.map(({ annotations = {} }) => annotations[estargzAnnotations.tocDigest]);
    };
    const one = await builder(at);
    await push(one, 'base', 'FROM scratch\nCOPY f /f', {
      compression: 'estargz',
      'force-compression': 'true',
    });
    const [toc] = await marksOf('base');
    expect(toc).toMatch(/^sha256:/);
    const text = `FROM ${name}:base\nCOPY f /g`;
    await push(one, 'one', text, {});
    expect(await marksOf('one')).toEqual([toc, undefined]);
    await leave(one);
    const entries = readdirSync(folderOf('chunked'), { recursive: true, withFileTypes: true })
      .filter((each) => each.isFile() && each.parentPath.includes('keys'))
      .map((each) => parseEntry(readFileSync(join(each.parentPath, each.name))));
    const layers = entries.flatMap(({ outputs }) => outputs.flat());
    expect(layers.map(({ annotations }) => annotations?.[estargzAnnotations.tocDigest])).toContain(toc);
    const two = await builder(at);
    await push(two, 'two', text, {});
    expect(count(two, true)).toBe(1);
    expect(await marksOf('two')).toEqual([toc, undefined]);
  });

  test('a reader has what is there and adds nothing', async () => {
    const one = await builder(`${dirOf('reader')}?read-only=true`);
    await run(one);
    await leave(one);
    expect(existsSync(folderOf('reader'))).toBe(false);
    const two = await builder(dirOf('reader'));
    await run(two);
    await leave(two);
    const before = readdirSync(join(folderOf('reader'), 'keys')).length;
    const three = await builder(`${dirOf('reader')}?read-only=true`);
    expect((await run(three, { 'src/a': '2' })).cached).toBe(2);
    await leave(three);
    expect(readdirSync(join(folderOf('reader'), 'keys'))).toHaveLength(before);
  });

  test('the policy says whose results are written; one identity’s own are never', async () => {
    const builds = await builder(dirOf('tenants'));
    const as = async (id: string, sharesResults: boolean, dockerfile: string) => {
      const context = builds.context({ Dockerfile: dockerfile });
      cpSync(baseFolder, join(context, 'base'), { recursive: true, verbatimSymlinks: true });
      const session = inProcessSession({ locals: { context } });
      const none = () => undefined;
      const withSecret = { ...session, secret: async () => Buffer.from(id) };
      await runBuild(
        builds.engine,
        dockerfileBuild({
          ...{ context: { type: 'local', name: 'context' }, tags: [], allow: [], check: false, labels: {} },
          ...{ outputs: [{ type: 'cacheonly', attrs: {} }], buildArgs: {}, platforms: [], noCache: false },
          ...{ noCacheFilter: [], pull: 'missing', network: 'default', extraHosts: [], shmSize: 0 },
          ...{ ulimits: [], namedContexts: {} },
        }),
        { ...withSecret, tenant: { id, sharesCacheMounts: false, sharesResults } },
        { vertex: none, status: none, warning: none, log: none },
        new AbortController().signal,
      );
      await session.close();
    };
    const from = 'FROM scratch\nCOPY base /\nENV PATH=/bin\n';
    await as('stranger', false, `${from}RUN echo stranger > /x`);
    const secret = 'RUN --mount=type=secret,id=s cat /run/secrets/s > /x';
    await as('ann', true, `${from}RUN echo ann > /x\n${secret}\nRUN echo on top > /y`);
    await leave(builds);
    const keys = join(folderOf('tenants'), 'keys');
    const filed = readdirSync(keys).map((key) => parseEntry(readFileSync(join(keys, key))).description);
    // The stranger had made the base, which Ann then had from the local cache.
    expect(filed).toEqual([expect.stringContaining('RUN echo ann > /x')]);

    // Any tenant takes the fleet's word.
    const other = await builder(dirOf('tenants'));
    expect((await run(other, {}, `${from}RUN echo ann > /x`)).cached).toBe(1);
  });

  test('writers that die, and others’ files, break nothing', async () => {
    const one = await builder(dirOf('broken'));
    const first = await run(one);
    await leave(one);
    const [keys, blobs] = [join(folderOf('broken'), 'keys'), join(folderOf('broken'), 'blobs')];
    // A blob without its key, a blob that is gone, files that are nobody's.
    const names = readdirSync(keys);
    rmSync(join(keys, names[0] as string));
    writeFileSync(join(keys, names[1] as string), '{"v":1,"id":"sha256:');
    writeFileSync(
      join(keys, names[2] as string),
      encodeEntry({ id: 'sha256:x' as never, description: '', outputs: [] }),
    );
    const two = await builder(dirOf('broken'));
    const second = await run(two);
    expect(second.ran + second.cached).toBe(steps);
    expect(said).toEqual([]);
    await leave(two);

    for (const name of readdirSync(blobs)) writeFileSync(join(blobs, name), 'other bytes');
    const three = await builder(dirOf('broken'));
    const third = await run(three);
    // What cannot be had is made after all.
    expect(third.both).not.toBe(first.both);
    expect(third.out).toEqual(['/out/one']);
  });

  test('what was not used is removed, and what is used becomes young', async () => {
    const one = await builder(dirOf('old'));
    await run(one);
    await leave(one);
    const dir = folderOf('old');
    const old = new Date(Date.now() - 40 * 24 * 3600_000);
    for (const kind of ['keys', 'blobs']) {
      for (const name of readdirSync(join(dir, kind))) utimesSync(join(dir, kind, name), old, old);
    }
    utimesSync(join(dir, 'collected'), old, old);
    const before = readdirSync(join(dir, 'keys')).length;
    // Uses all but two of the entries, and writes others: that is when old ones are looked for.
    const two = await builder(dirOf('old'));
    const smaller = text.replace(/\n {2}RUN cat \/out.*/, '');
    expect((await run(two, undefined, smaller)).ran).toBe(0);
    await leave(two);
    const three = await builder(dirOf('old'));
    await run(three, {}, 'FROM scratch\nCOPY base /other');
    await leave(three);
    const left = readdirSync(join(dir, 'keys')).length;
    expect(left).toBeLessThan(before + 1);
    const four = await builder(dirOf('old'));
    const again = await run(four);
    expect([again.ran, again.cached]).toEqual([1, steps - 1]);
  });
});

test('two daemons on one folder, by their setting', async () => {
  const place = join(top, 'daemons');
  const daemons = await Promise.all([1, 2].map(() => startTestDaemon({ sharedCachePlace: `dir:${place}` })));
  const text = 'FROM scratch\nCOPY base /\nENV PATH=/bin\nRUN cat /proc/sys/kernel/random/uuid > /f';
  const files: string[] = [];
  for (const { engine } of daemons) {
    const builds = new Builds();
    builds.engine = engine;
    const context = builds.context({});
    cpSync(baseFolder, join(context, 'base'), { recursive: true, verbatimSymlinks: true });
    files.push((await builds.build(text, {}, { context })).read('/f'));
    rmSync(builds.dir, { recursive: true, force: true });
    // It goes on running, and writes meanwhile.
    while (!existsSync(join(place, 'keys')) || readdirSync(join(place, 'keys')).length < 2) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  expect(files[1]).toBe(files[0]);
  await Promise.all(daemons.map((daemon) => daemon.stop()));
});

test('a command that is killed while it writes leaves nothing that the next one trips over', async () => {
  const cli = new Cli();
  try {
    const place = join(cli.dir, 'place');
    const context = cli.files('context', { Dockerfile: 'FROM scratch\nCOPY a /\nCOPY b /\n', b: 'b' });
    writeFileSync(join(context, 'a'), randomBytes(20 << 20));
    const build = (root: string) => [
      ...['--root', join(cli.dir, root), 'build', '--progress', 'plain', '--shared-cache', `dir:${place}`],
      ...['-o', 'type=cacheonly', context],
    ];
    const child = cli.start(build('killed'));
    while (!existsSync(join(place, 'blobs'))) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const left = existsSync(join(place, 'keys')) ? readdirSync(join(place, 'keys')) : [];
    for (const key of left) {
      const { outputs, coming } = parseEntry(readFileSync(join(place, 'keys', key)));
      expect(coming?.outputs ?? outputs.length).toBe(1);
    }
    await cli.ok(build('next'));
    const { stderr } = await cli.ok(build('last'));
    expect(stderr.match(/CACHED/g)).toHaveLength(2);
  } finally {
    cli.close();
  }
});

describe('a place that does not answer', () => {
  let silent: Server;
  let at: string;
  beforeAll(async () => {
    silent = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    at = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    silent.closeAllConnections();
    silent.close();
  });

  test.each([
    ['is silent', () => `${at}/fleet?timeout=200ms`],
    ['is not there', () => 's3://caches/x?region=a&endpoint_url=http://127.0.0.1:1'],
  ])('%s: one warning, and the build goes on', async (_, place) => {
    const said: string[] = [];
    const builds = new Builds();
    const spec = parseSharedCache(place(), {});
    const say = (line: string) => void said.push(line);
    const credentials = async () => undefined;
    const engine = await openEngine({
      root: join(builds.dir, 'root'),
      sharedCache: { spec, credentials, say, wait: 100 },
    });
    builds.engine = engine;
    try {
      await builds.build('FROM scratch\nCOPY a /\nCOPY b /', { a: '1', b: '2' });
      await builds.build('FROM scratch\nCOPY a /\nCOPY b /', { a: '3', b: '4' });
      expect(said).toEqual([expect.stringMatching(/^the shared cache .* cannot be used: .*; builds go on/)]);
    } finally {
      await builds.close();
    }
  });
});

describe('the setting', () => {
  const read = (place: string, env = {}) => parseSharedCache(place, env);
  test('names a bucket, a container, a folder or a repository', () => {
    expect(read('s3://caches/a/b?region=eu-west-1&keep=7d&timeout=500ms')).toMatchObject({
      ...{ name: 's3://caches/a/b', readOnly: false, timeout: 500, keep: 7 * 24 * 3600_000 },
      place: { type: 'objects', prefix: 'a/b/', store: { bucket: 'caches', region: 'eu-west-1' } },
    });
    expect(read('azblob://acc/cont', { AZURE_STORAGE_KEY: 'k' }).place).toMatchObject({
      prefix: '',
      store: { accountUrl: 'https://acc.blob.core.windows.net', proof: { type: 'key', account: 'acc' } },
    });
    expect(read('dir:/srv/cache?read-only')).toMatchObject({
      readOnly: true,
      place: { store: { dir: '/srv/cache' } },
    });
    expect(read('reg.example/team/cache?insecure=true&keep=forever')).toMatchObject({
      keep: undefined,
      place: { type: 'registry', ref: 'reg.example/team/cache', insecure: true },
    });
  });
  test('and is refused by name where it is none', () => {
    expect(() => read('s3://caches')).toThrow('region= is missing');
    expect(() => read('s3://A?region=x')).toThrow('it names no bucket');
    expect(() => read('dir:here')).toThrow('a folder is named by its whole path');
    expect(() => read('gs://bucket')).toThrow('gs:// is not known');
    expect(() => read('reg.example/cache:tag')).toThrow('has no tag');
    expect(() => read('dir:/x?kept=3d')).toThrow('unknown option kept');
    expect(() => read('dir:/x?timeout=soon')).toThrow('is no length of time');
  });
});
