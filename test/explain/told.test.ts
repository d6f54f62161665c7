/** Where it is told why steps run, where it is not, and what is kept for it. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runBuild } from '../../src/engine/build.ts';
import { dockerfileBuild } from '../../src/engine/dockerfile-build.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { compareLists } from '../../src/fs/compare-lists.ts';
import { dropLists, keepList, listsOf } from '../../src/fs/list-db.ts';
import { ListWriter, readList } from '../../src/fs/listing.ts';
import type { FsEntry } from '../../src/fs/view.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { inProcessSession } from '../../src/session/in-process.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { closePool } from '../../src/workers/pool.ts';
import { ApiBuilds, shellContext } from '../kit/api-builds.ts';
import { Builds } from '../kit/builds.ts';
import { Cli } from '../kit/cli.ts';
import { onLocal } from '../kit/stores.ts';

afterAll(() => closePool());

describe('the command', () => {
  let cli: Cli;
  beforeAll(async () => {
    cli = new Cli();
    await cli.makeBase();
  });
  afterAll(() => cli.close());

  const lines = (text: string) => text.split('\n').filter((line) => line.includes('not cached'));

  test('`drydock explain` tells the last build that ran steps, or one that --list shows', async () => {
    const dir = cli.files('explained', {
      Dockerfile: 'FROM base\nCOPY a /a\nRUN true\n',
      a: '1',
    });
    const args = ['build', '--progress=plain', '-t', 'explained', dir];
    await cli.ok(args);
    cli.files('explained', { a: '2' });
    const { stderr } = await cli.ok(args);
    expect(lines(stderr).map((line) => line.replace(/^#\d+ /, '').replace(/; took .*/, ''))).toEqual([
      'not cached: a file changed: a (contents)',
      'not cached: an earlier step changed: [2/3] COPY a /a',
    ]);
    // A build whose steps are all cached says nothing.
    expect(lines((await cli.ok(args)).stderr)).toEqual([]);
    expect((await cli.ok(['explain'])).stdout).toMatch(
      /^Build \S+ of explained\S* .*\n {2}all of its 2 steps were cached\n$/,
    );
    const list = (await cli.ok(['explain', '--list'])).stdout.trim().split('\n');
    expect(list[1]).toMatch(/ 0 +explained:latest/);
    expect(list[2]).toMatch(/ 2 +explained:latest/);
    const [, cached = '', changed = '', id = ''] = list.map((line) => line.split(' ')[0]);
    const { stdout } = await cli.ok(['explain', changed]);
    expect(stdout.split('\n').slice(1)).toEqual([
      '',
      '[2/3] COPY a /a',
      '  not cached: a file changed: a (contents)',
      '',
      '[3/3] RUN true',
      '  not cached: an earlier step changed: [2/3] COPY a /a',
      // What ran in a container is told with what it has used.
      expect.stringMatching(/^ {2}used \d+\.\d\d s of CPU, [\d.]+MiB of memory at most/),
      '',
    ]);
    const both = (await cli.ok(['explain', changed, cached])).stdout;
    expect(both).toMatch(/Second build .*\n {2}all of its 2 steps were cached\n/);
    expect(both).toContain('ran only in the first build: not cached: a file changed: a (contents)');
    expect((await cli.ok(['explain', id])).stdout).toContain('it was never built here');
    const failed = await cli.run(['explain', 'none']);
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining('there is no build none')]);
  });

  test('DRYDOCK_EXPLAIN=0 turns it off: nothing is told, and nothing is kept', async () => {
    const dir = cli.files('off', { Dockerfile: 'FROM scratch\nCOPY a /a\n', a: 'off' });
    const env = { DRYDOCK_EXPLAIN: '0', DRYDOCK_ROOT: join(cli.dir, 'off-root') };
    const { stderr } = await cli.ok(['build', '--progress=plain', dir], { env });
    expect(lines(stderr)).toEqual([]);
    expect(existsSync(join(env.DRYDOCK_ROOT, 'explain.db'))).toBe(false);
    expect(existsSync(join(env.DRYDOCK_ROOT, 'lists.db'))).toBe(false);
    const wrong = await cli.run(['build', dir], { env: { DRYDOCK_EXPLAIN: 'maybe' } });
    expect(wrong.stderr).toContain('DRYDOCK_EXPLAIN=maybe: want true or false');
  });
});

onLocal('POST /build', (store) => {
  let api: ApiBuilds;
  beforeAll(async () => {
    api = await ApiBuilds.open(store);
  });
  afterAll(() => api.stop());

  test("version 1 keeps docker's text; version 2 has the line in its trace", async () => {
    const one = await api.ok(shellContext('RUN echo said'), 'version=1');
    expect(one.lines.map(({ stream }) => stream ?? '').join('')).not.toContain('not cached');
    const two = await api.ok(shellContext('RUN echo more'), 'version=2');
    expect(two.log).toContain('not cached: ');
    expect(two.log).toContain('more');
  });
});

describe('what is kept', () => {
  const builds = new Builds();
  beforeAll(() => builds.open());
  afterAll(() => builds.close());

  const explainDb = () => join(builds.dir, 'root/explain.db');

  test('tenants hear nothing of what others have built', async () => {
    const context = builds.context({ Dockerfile: 'FROM base\nCOPY a /a\n', a: '1' });
    const told = async (tenant: string) => {
      const logs: string[] = [];
      const session = inProcessSession({ locals: { context } });
      const request = dockerfileBuild({
        context: { type: 'local', name: 'context' },
        ...{ tags: [], outputs: [{ type: 'cacheonly', attrs: {} }], allow: [], check: false },
        ...{ buildArgs: {}, labels: {}, platforms: [], noCache: false, noCacheFilter: [], pull: 'missing' },
        ...{ network: 'default', extraHosts: [], shmSize: 0, ulimits: [], namedContexts: {} },
      });
      const none = () => undefined;
      await runBuild(
        builds.engine,
        request,
        { ...session, tenant: { id: tenant, sharesCacheMounts: false } },
        { vertex: none, status: none, warning: none, log: ({ data }) => logs.push(data.toString()) },
        new AbortController().signal,
      );
      await session.close();
      return logs.join('');
    };
    expect(await told('ann')).toContain('it was never built here');
    // What ann has built, bob finds in the cache.
    expect(await told('bob')).toBe('');
    writeFileSync(join(context, 'a'), '2');
    expect(await told('bob')).toContain('it was never built here');
    writeFileSync(join(context, 'a'), '3');
    expect(await told('ann')).toContain('a file changed: a (contents)');
    await prune(builds.engine, { all: true });
    writeFileSync(join(context, 'a'), '3');
    await builds.makeBase();
    expect(await told('bob')).toContain('not cached: files changed'); // the prune has taken the lists along
    await prune(builds.engine, { all: true });
    await builds.makeBase();
    expect(await told('bob')).toContain('its record was pruned');
  });

  test('a build whose steps are all cached neither opens nor writes it', async () => {
    const options = { context: builds.context({ a: '1' }) };
    await builds.build('COPY a /a', {}, options);
    await builds.engine.close();
    const engine = await openEngine({ root: join(builds.dir, 'root') });
    builds.engine = engine;
    const { mtimeNs } = statSync(explainDb(), { bigint: true });
    await builds.build('COPY a /a', {}, options);
    expect(builds.logs).toBe('');
    expect(statSync(explainDb(), { bigint: true }).mtimeNs).toBe(mtimeNs);
    expect(existsSync(`${explainDb()}-wal`)).toBe(false);
  });

  test('a database that cannot be used makes no build fail; nothing is said then', async () => {
    await builds.engine.close();
    for (const end of ['', '-wal', '-shm']) rmSync(explainDb() + end, { force: true });
    writeFileSync(
      explainDb(),
      'this is no database, and long enough to be seen as none by SQLite'.repeat(20),
    );
    builds.engine = await openEngine({ root: join(builds.dir, 'root') });
    await builds.build('RUN echo fine');
    expect(builds.logs).toBe('fine\n');
    await builds.engine.close();
    rmSync(explainDb());
    builds.engine = await openEngine({ root: join(builds.dir, 'root') });
  });

  test('a foreign cache that knows a step and has no layers of it, or cannot give them', async () => {
    const folder = join(builds.dir, 'cache');
    const outputs = [{ type: 'image' as const, attrs: {} }];
    const text = (more = '') =>
      `FROM base AS one\nRUN echo one > /one\nFROM base\n${more}COPY --from=one /one /two\nRUN cat /two`;
    const cacheTo = (mode: string) => [
      { type: 'local' as const, attrs: { dest: `${folder}-${mode}`, mode } },
    ];
    const cacheFrom = (mode: string) => [{ type: 'local' as const, attrs: { src: `${folder}-${mode}` } }];
    const forget = async () => {
      await prune(builds.engine, { all: true });
      await builds.makeBase();
    };
    await builds.build(text(), {}, { cacheTo: cacheTo('min'), outputs });
    await builds.build(text(), {}, { cacheTo: cacheTo('max'), outputs });
    await forget();
    // The last stage is another one, for which the first is needed; that one the cache knows by its keys alone.
    await builds.build(text('COPY a /b\n'), { a: 'a' }, { cacheFrom: cacheFrom('min'), outputs });
    expect(builds.logs).toMatch(/the cache \S* ?knows it, but has no layers of it/);
    await forget();
    const blobs = join(`${folder}-max`, 'blobs/sha256');
    for (const name of readdirSync(blobs)) {
      const path = join(blobs, name);
      if (readFileSync(path)[0] !== '{'.charCodeAt(0)) rmSync(path);
    }
    await builds.build(text('COPY a /c\n'), { a: 'a' }, { cacheFrom: cacheFrom('max'), outputs });
    expect(builds.logs).toMatch(/the cache \S* ?has it, but its layers could not be had/);
  });
});

describe('lists of files', () => {
  const entry = { type: 'file', uid: 0, gid: 0 } as FsEntry;

  test('100,000 files take less than 2 MB', () => {
    const writer = new ListWriter();
    for (let i = 0; i < 100_000; i++) {
      const path = `0:node_modules/package-${Math.floor(i / 50)}/lib/module-${(i * 7919) % 100_003}.js`;
      writer.add(path, entry, 0o644, digestOf(String(i)).slice('sha256:'.length));
    }
    const list = writer.finish()!;
    expect(list.length).toBeLessThan(2e6);
    expect(readList(list).size).toBe(100_000);
  });

  test('names that are no UTF-8, and halves of characters, come back as they were', () => {
    const names = ['0:a', '0:caf\udce9', '0:\u{1f600}', '0:\u{1f601}x', '0:new\nline\t"'];
    const writer = new ListWriter();
    for (const name of names) writer.add(name, entry, 0o644, 'x');
    expect([...readList(writer.finish()!).keys()]).toEqual(names);
  });

  test('a list that is not there (any more) is told as such, and one is written once', () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-lists-'));
    const listDb = join(dir, 'lists.db');
    const [one, two, gone] = ['one', 'two', 'gone'].map((text) => digestOf(text));
    const list = (contents: string) => () => {
      const writer = new ListWriter();
      writer.add('0:a', entry, 0o644, contents);
      return writer.finish();
    };
    keepList(listDb, one!, list('1'));
    keepList(listDb, two!, list('2'));
    keepList(listDb, two!, () => {
      throw new Error('it is there already');
    });
    expect(compareLists({ listDb, now: two!, before: [one!, gone!], most: 10 })).toEqual([
      { count: 1, changes: [{ path: '0:a', how: 'changed', contents: true }] },
      undefined,
    ]);
    expect(listsOf(listDb, [one!, gone!]).size).toBe(1);
    dropLists(listDb);
    expect(listsOf(listDb, [one!, two!]).size).toBe(0);
    rmSync(dir, { recursive: true });
  });
});
