/** The text of builder version 1, step by step as docker's builder of old has it. Each test runs on both stores. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';
import { onLocal } from '../../kit/stores.ts';

interface Line {
  stream?: string;
  aux?: { ID: string };
  error?: string;
}

onLocal('the text of builder version 1', (store) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
    await build('t=base', 'FROM scratch\nCOPY busybox /bin/sh\n', {
      busybox: { data: readFileSync('/bin/busybox'), mode: 0o755 },
    });
  });
  afterAll(() => daemon.stop());

  /** The lines, with IDs as `ID`, and the image's ID. */
  const build = async (query: string, dockerfile: string, more = {}) => {
    const body = tarOf({ Dockerfile: dockerfile, ...more });
    const lines = (await daemon.ask('POST', `/build?version=1&${query}`, { body })).lines<Line>();
    expect(lines.at(-1)?.error).toBeUndefined();
    const text = lines.map(({ stream = '' }) => stream).join('');
    const shown = text.replace(/ [0-9a-f]{12}\n/g, ' ID\n').split('\n');
    return { lines: shown, id: lines.findLast(({ aux }) => aux !== undefined)?.aux?.ID ?? '' };
  };
  const ran = [' ---> Running in ID', ' ---> Removed intermediate container ID', ' ---> ID'];
  const cached = [' ---> Using cache', ' ---> ID'];
  const createdOf = async (name: string) =>
    (await daemon.ask('GET', `/images/${name}/json`)).json<{ Created: string }>().Created;

  test('a step says what ran and what came from the cache; FROM and global ARGs say neither', async () => {
    const dockerfile = 'ARG B=base\nFROM $B\nENV A=1\nRUN echo hi >/x\nCOPY Dockerfile /\nCMD ["x"]\n';
    const steps = ['ENV A=1', 'RUN echo hi >/x', 'COPY Dockerfile /', 'CMD ["x"]'];
    const head = ['Step 1/6 : ARG B=base', 'Step 2/6 : FROM $B', ' ---> ID'];
    const text = (tails: string[][]) =>
      [
        ...head,
        ...steps.flatMap((step, i) => [`Step ${i + 3}/6 : ${step}`, ...(tails[i] as string[])]),
      ].concat('Successfully built ID', '');
    const first = await build('', dockerfile);
    expect(first.lines).toEqual(text([ran, ran, [' ---> ID'], ran]));
    const again = await build('', dockerfile);
    expect(again.lines).toEqual(text([cached, cached, cached, cached]));
    expect(again.id).toBe(first.id);
    // What is above a step that has changed is not from the cache either.
    const changed = await build('', dockerfile.replace('hi', 'ho'));
    expect(changed.lines.filter((line) => line === cached[0])).toEqual([]);
    const why =
      ' ---> not cached: its cache was ignored, as the build asked (--no-cache or --no-cache-filter)';
    const without = await build('nocache=1', dockerfile);
    const [running = '', ...rest] = ran;
    expect(without.lines).toEqual(text([ran, [running, why, ...rest], [why, ' ---> ID'], ran]));
    const kept = await build('rm=0', dockerfile.replace('hi', 'he'));
    expect(kept.lines.join()).not.toContain('Removed');
  });

  test('a step whose earlier run was another says what has changed, before its own output', async () => {
    const dockerfile = (word: string) => `FROM base\nCOPY f /f\nRUN echo ${word}\n`;
    const lines = async (word: string, f: string, query = '') => {
      const built = await build(`t=told&${query}`, dockerfile(word), { f });
      return built.lines.slice(2, -3);
    };
    const copy = 'Step 2/3 : COPY f /f';
    const run = (word: string) => `Step 3/3 : RUN echo ${word}`;
    const [running = '', ...rest] = ran;
    // Nothing is known before the first run, and nothing is said of it.
    expect(await lines('a', '1')).toEqual([copy, ' ---> ID', run('a'), running, 'a', ...rest]);
    expect(await lines('a', '2')).toEqual([
      ...[copy, ' ---> not cached: a file changed: f (contents)', ' ---> ID'],
      ...[run('a'), running, ' ---> not cached: an earlier step changed: [2/3] COPY f /f', 'a', ...rest],
    ]);
    expect(await lines('b', '2')).toEqual([
      ...[copy, ...cached],
      ...[run('b'), running, ' ---> not cached: the instruction changed: "RUN echo a" → "RUN echo b"'],
      ...['b', ...rest],
    ]);
    expect(await lines('b', '2')).toEqual([copy, ...cached, run('b'), ...cached]);
    // With q=1 the answer is the image's ID alone.
    const quiet = await build('t=told&q=1', dockerfile('c'), { f: '3' });
    expect(quiet.lines.join('\n')).not.toContain('not cached');
  });

  test('ONBUILD triggers of the base are announced and told with FROM', async () => {
    await build('t=one', 'FROM base\nONBUILD RUN echo triggered\n');
    await build('t=two', 'FROM base\nONBUILD ENV A=1\nONBUILD RUN echo again\n');
    const one = await build('', 'FROM one\nLABEL a=b\n');
    expect(one.lines.slice(0, 6)).toEqual([
      'Step 1/2 : FROM one',
      '# Executing 1 build trigger',
      ' ---> Running in ID',
      'triggered',
      ...ran.slice(1),
    ]);
    await build('', 'FROM two\nLABEL a=b\n');
    const two = await build('', 'FROM two\nLABEL a=b\n');
    expect(two.lines.slice(0, 5)).toEqual([
      'Step 1/2 : FROM two',
      '# Executing 2 build triggers',
      ' ---> Using cache',
      ...cached,
    ]);
  });

  test('an image of a changed config alone is of the time of its making, and the same when built again', async () => {
    const before = new Date().toISOString();
    const first = await build('t=labelled', 'FROM base\nLABEL a=1\n');
    expect((await createdOf('labelled')) >= before).toBe(true);
    expect(first.lines.slice(2, 6)).toEqual(['Step 2/2 : LABEL a=1', ...ran]);
    const again = await build('t=labelled', 'FROM base\nLABEL a=1\n');
    expect(again.id).toBe(first.id);
    expect(again.lines.slice(2, 5)).toEqual(['Step 2/2 : LABEL a=1', ...cached]);
    const anew = await build('t=labelled&nocache=1', 'FROM base\nLABEL a=1\n');
    expect(anew.id).not.toBe(first.id);
    await build('t=later', 'FROM scratch\nMAINTAINER me\n');
    const since = encodeURIComponent('{"since":["labelled"]}');
    const listed = (await daemon.ask('GET', `/images/json?filters=${since}`)).json<
      { RepoTags: string[] }[]
    >();
    expect(listed.map(({ RepoTags }) => RepoTags)).toEqual([['later:latest']]);
  });

  test('cachefrom: images that are not here give no cache, and the local one is not used instead', async () => {
    const dockerfile = 'FROM base\nRUN echo from >/cache\n';
    await build('t=source', dockerfile);
    const none = await build(`cachefrom=${encodeURIComponent('["nosuchtag"]')}`, dockerfile);
    expect(none.lines).not.toContain(' ---> Using cache');
    const some = await build(`cachefrom=${encodeURIComponent('["nosuchtag","source"]')}`, dockerfile);
    expect(some.lines).toContain(' ---> Using cache');
  });
});
