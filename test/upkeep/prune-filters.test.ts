/** Pruning by image, project, cache mount, kind and words: by the command, POST /build/prune and Control.Prune. */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { diskUsage, type UsageRecord } from '../../src/upkeep/disk-usage.ts';
import { readPruneChoice, readPruneFilters, splitPruneFilters } from '../../src/upkeep/prune-filter.ts';
import { ControlKit } from '../api/buildkit/control-kit.ts';
import { Builds } from '../kit/builds.ts';
import { Cli } from '../kit/cli.ts';
import { onStores } from '../kit/stores.ts';

describe('a filter', () => {
  const record: UsageRecord = {
    ...{ id: 'sha256:abc', type: 'regular', description: '[2/3] RUN apt-get update', size: 1 },
    ...{ createdAt: 0, lastUsedAt: 0, usageCount: 1, inUse: false, shared: true },
    ...{ project: '/home/me/app', images: ['docker.io/library/app:latest', 'reg.example/app:1'] },
  };
  const fits = (filters: Record<string, string[]>) =>
    readPruneFilters(new Map(Object.entries(filters)))?.(record);
  const mount: UsageRecord = { ...record, id: 'f00', type: 'exec.cachemount', mount: '/root/.npm' };

  test.each([
    [{ id: ['abc'] }, true],
    [{ id: ['b', 'sha256:a'] }, true],
    [{ type: ['regular', 'internal'] }, true],
    [{ 'type!': ['regular'] }, false],
    [{ description: ['apt'] }, true],
    [{ 'description~': ['RUN (apt|apk)'] }, true],
    [{ 'description~': ['"'] }, false],
    [{ image: ['app'] }, true],
    [{ image: ['app:2'] }, false],
    [{ image: ['reg.example/*'] }, true],
    [{ 'image!': ['app:*'] }, false],
    [{ project: ['/home/me/app/'] }, true],
    [{ project: ['/home/*'], image: ['other'] }, false],
    [{ shared: [''] }, true],
    [{ private: ['true'] }, false],
    [{ mount: ['*'] }, false],
    [{ parents: ['abc'] }, false],
  ])('%j: %s', (filters, expected) => {
    expect(fits(filters as unknown as Record<string, string[]>)).toBe(expected);
  });

  test('of cache mounts, by their IDs', () => {
    expect(readPruneFilters(new Map([['mount', ['/root/*']]]))?.(mount)).toBe(true);
    expect(readPruneFilters(new Map([['mount', ['/root']]]))?.(mount)).toBe(false);
  });

  test('that is none is refused by its name', () => {
    expect(() => fits({ age: ['1'] })).toThrow("invalid filter 'age'");
    expect(() => fits({ type: ['image'] })).toThrow('unknown record type image');
    expect(() => fits({ inuse: ['perhaps'] })).toThrow("invalid filter 'inuse=perhaps'");
    expect(() => fits({ 'image~': ['('] })).toThrow('regular expression');
    expect(fits({})).toBeUndefined();
  });
});

onStores('pruning by filters', (store) => {
  let kit: ControlKit;
  const builds = new Builds();
  const cli = new Cli();

  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
    await builds.use(kit.daemon.engine);
  });
  afterAll(async () => {
    await kit.daemon.stop();
    cli.close();
    rmSync(builds.dir, { recursive: true, force: true });
  });

  const steps = async () =>
    (await diskUsage(kit.daemon.engine))
      .map(({ description, mount }) => mount?.slice(1) ?? description)
      .filter((text) => /step|^cache-/.test(text))
      .map((text) => text.replace(/^.*(RUN|COPY) /, ''))
      .sort();
  /** Two projects that share nothing, each with an image of its own, a stage that is no part of it, and a cache. */
  const build = async (name: string) => {
    const text = `FROM base AS tools\nRUN --mount=type=cache,id=cache-${name},target=/c echo step-${name}-1 >/f\nFROM base\nCOPY --from=tools /f /step-${name}-2\n`;
    const context = builds.context({ Dockerfile: text });
    await builds.build('', {}, { context, dockerfileText: undefined, tags: [`example.com/${name}:1`] });
    return context;
  };
  const of = async (name: string) => (await steps()).filter((text) => text.includes(`step-${name}-`));

  test('POST /build/prune: what was made for an image, first the stages that are no part of it', async () => {
    await build('a');
    await build('b');
    expect([await of('a'), await of('b')].map(({ length }) => length)).toEqual([2, 2]);
    const filters = encodeURIComponent(JSON.stringify({ image: ['example.com/a:1'] }));
    expect((await kit.daemon.ask('POST', `/build/prune?filters=${filters}`)).status).toBe(200);
    // The image itself uses the other. (Of containerd's images the layers are snapshots of their own.)
    if (store.kind === 'local') expect(await of('a')).toEqual(['--from=tools /f /step-a-2']);
    expect(await of('a')).not.toContainEqual(expect.stringContaining('step-a-1'));
    const every = encodeURIComponent(JSON.stringify({ image: ['example.com/a:*'] }));
    const pruned = await kit.daemon.ask('POST', `/build/prune?all=1&filters=${every}`);
    // The image has its layers still: what is removed is the record that leads to one.
    if (store.kind === 'local') expect(pruned.json()).toMatchObject({ SpaceReclaimed: 0 });
    expect(await of('a')).toEqual([]);
    expect(await of('b')).toHaveLength(2);
    expect(await steps()).toEqual(expect.arrayContaining(['cache-a', 'cache-b']));
  });

  test('the command: a project by its folder, a cache mount by its ID', async () => {
    const folder = await build('c');
    const host = ['--host', `unix://${kit.daemon.socket}`];
    const prune = (...filters: string[]) =>
      cli.ok([...host, 'prune', '--all', ...filters.flatMap((each) => ['--filter', each])]);
    // What a daemon was sent is known there by what stands for the folder.
    await cli.ok([...host, 'build', '-q', '-t', 'sent', '--no-cache', folder]);
    const before = await of('c');
    await prune(`project=${folder}`, 'description~=step-c-1');
    expect(before.length - (await of('c')).length).toBeGreaterThan(0);
    await prune('mount=cache-*', 'mount!=cache-b');
    expect((await steps()).filter((text) => text.startsWith('cache-'))).toEqual(['cache-b']);
    const { stderr } = await cli.run(['prune', '--filter', 'colour=red']);
    expect(stderr).toContain("invalid filter 'colour'");
  });

  test("Control.Prune: containerd's filters over the same fields", async () => {
    const folder = await build('d');
    const pruned = async (filter: string) => {
      const found: string[] = [];
      for await (const { Description } of kit.control.prune({ all: true, filter: [filter] }))
        found.push(Description);
      return found;
    };
    expect(await pruned(`project=="${folder}"`)).toHaveLength(2);
    expect(await pruned('mount=="/cache-d"')).toEqual(['cache mount /cache-d']);
    expect(await pruned('image~="example.com/b:",type==regular')).toHaveLength(2);
  });
});

test('an age is a duration, also of days, or a time; it is given once', () => {
  const age = (...texts: string[]) => readPruneChoice(splitPruneFilters(texts)).unusedFor;
  expect(age('until=24h')).toBe(86_400_000);
  expect(age('unused-for=2d', 'type=regular')).toBe(172_800_000);
  const since = age(`until=${new Date(Date.now() - 60_000).toISOString()}`) ?? 0;
  expect(Math.abs(since - 60_000)).toBeLessThan(5000);
  expect(age('type=regular')).toBeUndefined();
  expect(() => age('until=1h', 'unused-for=1h')).toThrow("give one of 'until' and 'unused-for', once");
  expect(() => age('until=soon')).toThrow('invalid value for until');
});
