/**
 * Why a step was not cached: each cause in its words, in the three forms of our own progress and in the log that
 * Control.Solve sends to docker, buildx and buildctl.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PlainPrinter } from '../../src/cli/progress/plain.ts';
import { RawJsonPrinter } from '../../src/cli/progress/rawjson.ts';
import { TtyPrinter } from '../../src/cli/progress/tty.ts';
import type { ProgressSink } from '../../src/progress/events.ts';
import { build } from '../../src/sdk/build.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { ControlKit } from '../api/buildkit/control-kit.ts';
import { Builds } from '../kit/builds.ts';
import { onLocal } from '../kit/stores.ts';

/** What a build is asked for. */
interface Asked {
  args?: Record<string, string>;
  noCache?: boolean;
  noCacheFilter?: string[];
  cacheFrom?: string;
}

/** Builds a folder; gives what was told of each step that ran: `COPY a /a` → the line without its beginning. */
type Run = (dir: string, asked?: Asked) => Promise<Record<string, string>>;

/** Progress to all three printers. */
function printers(): { sink: ProgressSink; texts(): { plain: string; tty: string; rawjson: string } } {
  const out = { plain: '', tty: '', rawjson: '' };
  const io = (form: keyof typeof out) => ({
    write(text: string) {
      // A terminal keeps the last picture alone.
      out[form] = form === 'tty' ? text : out[form] + text;
    },
    columns: () => 1000,
    rows: () => 100,
    colors: false,
  });
  const all = [new PlainPrinter(io('plain')), new TtyPrinter(io('tty')), new RawJsonPrinter(io('rawjson'))];
  return {
    sink: {
      vertex: (event) => all.forEach((printer) => void printer.vertex(event)),
      status: (event) => all.forEach((printer) => void printer.status(event)),
      log: (event) => all.forEach((printer) => void printer.log(event)),
      warning: (event) => all.forEach((printer) => void printer.warning(event)),
    },
    texts() {
      for (const printer of all) printer.close();
      return out;
    },
  };
}

const stepOf = (name: string) => /^\[.*?\] (.*)$/.exec(name)?.[1] ?? name;

/** By step: what each form of progress has told. */
function toldIn({ plain, tty, rawjson }: { plain: string; tty: string; rawjson: string }) {
  const names = new Map([...plain.matchAll(/^#(\d+) (\[.*)$/gm)].map(([, n = '', name = '']) => [n, name]));
  const inPlain = [...plain.matchAll(/^#(\d+) not cached: (.*?)(?:; took [\d.]+ s before.*)?$/gm)].map(
    ([, n = '', line]) => [stepOf(names.get(n) ?? ''), line],
  );
  const inTty = [
    ...tty.matchAll(/^(?:\x1b\[2K)? => (\[.*\S) +[\d.]+s\n(?:\x1b\[2K)? => => not cached: (.*)$/gm),
  ].map(([, name = '', line]) => [stepOf(name), line]);
  const events = rawjson
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const byDigest = new Map<string, string>(
    events.flatMap(({ vertexes = [] }) =>
      vertexes.map(({ digest, name }: { digest: string; name: string }): [string, string] => [digest, name]),
    ),
  );
  const inJson = events.flatMap(({ logs = [] }) =>
    logs.flatMap(({ vertex, stream, data }: { vertex: string; stream: number; data: string }) => {
      const [, line] =
        /^not cached: (.*?)(?:; took [\d.]+ s before.*)?\n$/.exec(Buffer.from(data, 'base64').toString()) ??
        [];
      return line === undefined ? [] : [[stepOf(byDigest.get(vertex) ?? ''), line, stream]];
    }),
  );
  expect(inJson.map(([, , stream]) => stream)).toEqual(inJson.map(() => 2));
  return {
    plain: Object.fromEntries(inPlain),
    tty: Object.fromEntries(inTty),
    rawjson: Object.fromEntries(inJson),
  };
}

onLocal('Why a step was not cached', (store) => {
  let kit: ControlKit;
  const builds = new Builds();

  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
    await builds.use(kit.daemon.engine);
  });
  afterAll(async () => {
    await kit.daemon.stop();
    rmSync(builds.dir, { recursive: true, force: true });
  });

  const own: Run = async (context, { args, noCache, noCacheFilter, cacheFrom } = {}) => {
    const { sink, texts } = printers();
    await build({
      context,
      engine: kit.daemon.engine,
      credentials: async () => undefined,
      outputs: [{ type: 'cacheonly', attrs: {} }],
      buildArgs: args,
      noCache,
      noCacheFilter,
      ...(cacheFrom && { cacheFrom: [{ type: 'registry', attrs: { ref: cacheFrom } }] }),
      progress: sink,
    });
    const told = toldIn(texts());
    expect(told.tty).toEqual(told.plain);
    expect(told.rawjson).toEqual(told.plain);
    return told.plain;
  };

  const solved: Run = async (dir, { args = {}, noCache, noCacheFilter, cacheFrom } = {}) => {
    const { status } = await kit.solve(
      {
        Frontend: 'dockerfile.v0',
        FrontendAttrs: {
          ...Object.fromEntries(Object.entries(args).map(([name, value]) => [`build-arg:${name}`, value])),
          ...(noCache && { 'no-cache': '' }),
          ...(noCacheFilter && { 'no-cache': noCacheFilter.join(',') }),
        },
        ...(cacheFrom && { Cache: { Imports: [{ Type: 'registry', Attrs: { ref: cacheFrom } }] } }),
      },
      { dirs: { context: dir, dockerfile: dir }, sharedKey: dir },
    );
    const names = new Map(
      status.flatMap(({ vertexes }) => vertexes.map(({ digest, name }) => [digest, name])),
    );
    const lines = status.flatMap(({ logs }) =>
      logs.flatMap(({ vertex, stream, msg }) => {
        const [, line] =
          /^not cached: (.*?)(?:; took [\d.]+ s before.*)?\n$/.exec(Buffer.from(msg).toString()) ?? [];
        if (line === undefined) return [];
        expect(stream).toBe(2n);
        return [[stepOf(names.get(vertex) ?? ''), line] as const];
      }),
    );
    return Object.fromEntries(lines);
  };

  const forms: [string, Run][] = [
    ['plain, tty and rawjson', own],
    ['Control.Solve', solved],
  ];

  describe.each(forms)('%s', (form, run) => {
    /** A folder of its own, with a line that makes its steps no other test's. */
    const project = (dockerfile: string, files: Record<string, string> = {}) => {
      const dir = mkdtempSync(join(builds.dir, 'project-'));
      const put = (path: string, text: string, mode = 0o644) => {
        mkdirSync(dirname(join(dir, path)), { recursive: true });
        writeFileSync(join(dir, path), text, { mode });
      };
      const write = (text: string) => put('Dockerfile', `FROM base\nWORKDIR ${dir}\n${text}\n`);
      write(dockerfile);
      for (const [path, text] of Object.entries(files)) put(path, text);
      return { dir, put, write };
    };
    const first = 'it was never built here (no earlier run of it is on record)';

    test('it was never built here', async () => {
      const { dir } = project('RUN true\nCOPY a /a', { a: '1' });
      expect(await run(dir)).toEqual({ [`WORKDIR ${dir}`]: first, 'RUN true': first, 'COPY a /a': first });
      expect(await run(dir)).toEqual({});
    });

    test('files of the COPY changed: contents, added, removed, mode', async () => {
      const { dir, put } = project('COPY src /src', { 'src/a': '1', 'src/b': '1', 'src/c': '1' });
      await run(dir);
      put('src/a', '2');
      rmSync(join(dir, 'src/b'));
      chmodSync(join(dir, 'src/c'), 0o755);
      put('src/d/e', '1');
      expect(await run(dir)).toEqual({
        'COPY src /src':
          '5 files changed: src/a (contents), src/c (mode 644 → 755), src/d (added), src/d/e (added), src/b (removed)',
      });
      put('src/a', '3');
      expect(await run(dir)).toEqual({ 'COPY src /src': 'a file changed: src/a (contents)' });
      put('src/a', '4');
      chmodSync(join(dir, 'src/a'), 0o600);
      expect(await run(dir)).toEqual({
        'COPY src /src': 'a file changed: src/a (contents, mode 644 → 600)',
      });
    });

    test('more files than ten: ten by name, and the count', async () => {
      const names = Array.from({ length: 12 }, (_, i) => `f${String(i).padStart(2, '0')}`);
      const { dir, put } = project('COPY . /all', Object.fromEntries(names.map((name) => [name, '1'])));
      await run(dir);
      for (const name of names) put(name, '2');
      const ten = names.slice(0, 10).map((name) => `${name} (contents)`);
      expect((await run(dir))['COPY . /all']).toBe(`12 files changed: ${ten.join(', ')} and 2 more`);
    });

    test('a file of another stage has another owner', async () => {
      const { dir } = project(
        `FROM base AS one\nARG OWNER=1\nCOPY --chown=$OWNER:7 a /a\nFROM base\nCOPY --from=one /a /${form.length}`,
        { a: '1' },
      );
      await run(dir);
      const told = await run(dir, { args: { OWNER: '2' } });
      expect(told[`COPY --from=one /a /${form.length}`]).toBe(
        'a file of [one 2/2] COPY --chown=2:7 a /a changed: a (owner 1:7 → 2:7)',
      );
    });

    test('a build argument or a variable has another value; one that looks secret is not told', async () => {
      const { dir, write } = project('ARG VERSION=1\nARG NPM_TOKEN=s3cret1\nENV A=1\nRUN true');
      await run(dir);
      const variable = 'the build argument or variable';
      expect(await run(dir, { args: { VERSION: '2' } })).toEqual({
        'RUN true': `${variable} VERSION has another value ("1" → "2")`,
      });
      expect(await run(dir, { args: { NPM_TOKEN: 's3cret2' } })).toEqual({
        'RUN true': `${variable} NPM_TOKEN has another value`,
      });
      write('ARG VERSION=1\nARG NPM_TOKEN=s3cret1\nENV A=2\nENV B=3\nRUN true');
      expect(await run(dir)).toEqual({
        'RUN true': `${variable} A has another value ("1" → "2"); ${variable} B is new ("3")`,
      });
    });

    test('the base image moved', async () => {
      const name = `moving-${form.length}`;
      const bases = new Builds();
      bases.engine = kit.daemon.engine;
      await bases.build('COPY v /v', { v: '1' }, { tags: [name] });
      const { dir, put } = project('', { a: form });
      put('Dockerfile', `FROM ${name}\nCOPY a /a`);
      await run(dir);
      await bases.build('COPY v /v', { v: '2' }, { tags: [name] });
      expect((await run(dir))['COPY a /a']).toMatch(
        new RegExp(`^the base image ${name}:latest moved \\(sha256:[0-9a-f]{12} → sha256:[0-9a-f]{12}\\)$`),
      );
      put('Dockerfile', 'FROM base\nCOPY a /a');
      expect((await run(dir))['COPY a /a']).toMatch(
        /^the base image is another one \(moving-\d+:latest → base:latest, /,
      );
      rmSync(bases.dir, { recursive: true, force: true });
    });

    test('the instruction itself changed, and the steps on it say which earlier step did', async () => {
      const { dir, write } = project('RUN echo one\nCOPY a /a\nRUN true', { a: '1' });
      await run(dir);
      write('RUN echo two\nCOPY a /a\nRUN true');
      const earlier = 'an earlier step changed: [3/5] RUN echo two';
      expect(await run(dir)).toEqual({
        'RUN echo two': 'the instruction changed: "RUN echo one" → "RUN echo two"',
        'COPY a /a': earlier,
        'RUN true': earlier,
      });
    });

    test('a step that is put in between was never built, and changes those on it', async () => {
      const { dir, write } = project('RUN echo one\nRUN echo three');
      await run(dir);
      write('RUN echo one\nRUN echo two\nRUN echo three');
      expect(await run(dir)).toEqual({
        'RUN echo two': first,
        'RUN echo three': 'an earlier step changed: [4/5] RUN echo two',
      });
    });

    test('an option of a step changed that its text does not show', async () => {
      const { dir, write } = project('USER 1\nRUN true');
      await run(dir);
      write('USER 2\nRUN true');
      expect(await run(dir)).toEqual({ 'RUN true': 'its user changed: "1" → "2"' });
    });

    test('its record was pruned: when, and by which rule', async () => {
      const { dir } = project('RUN true');
      await run(dir);
      await prune(kit.daemon.engine, { all: true, by: 'garbage collection', unusedFor: 0 });
      const told = await run(dir);
      expect(told['RUN true']).toMatch(
        /^its record was pruned \d+ s ago by garbage collection of what was not used for 0 s$/,
      );
      expect(await run(dir)).toEqual({});
    });

    test('its cache was ignored by a flag, for all steps or for those of a stage', async () => {
      const { dir } = project('RUN true\nFROM base AS last\nCOPY a /a', { a: '1' });
      await run(dir);
      const ignored = 'its cache was ignored, as the build asked (--no-cache or --no-cache-filter)';
      expect(await run(dir, { noCacheFilter: ['last'] })).toEqual({ 'COPY a /a': ignored });
      expect(await run(dir, { noCache: true })).toEqual({ 'COPY a /a': ignored });
    });

    test('the cache that the build named could not be imported', async () => {
      const { dir, put } = project('COPY a /a', { a: '1' });
      const ref = 'localhost:1/none:cache';
      const failed = `the cache ${ref} could not be imported`;
      expect((await run(dir, { cacheFrom: ref }))['COPY a /a']).toBe(`${first}; ${failed}`);
      put('a', '2');
      expect(await run(dir, { cacheFrom: ref })).toEqual({
        'COPY a /a': `a file changed: a (contents); ${failed}`,
      });
    });

    test('where nothing is known to have changed, nothing is guessed', async () => {
      const { dir } = project('RUN echo lost');
      await run(dir);
      const { cache } = kit.daemon.engine;
      // Its record is lost, and nobody has said so.
      cache.prune(
        cache
          .list()
          .filter(({ description }) => description.includes('lost'))
          .map(({ id }) => id),
      );
      expect(await run(dir)).toEqual({ 'RUN echo lost': 'not found in the cache' });
    });
  });
});
