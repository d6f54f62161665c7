/**
 * Inputs made to keep the main thread busy, which serves everybody else: Dockerfiles of many forms and up to 1 MiB,
 * and definitions of tens of thousands of vertices. What is measured is the CPU time that the thread takes between two
 * of its own timers, which a busy machine does not make longer.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DrydockError } from '../../src/errors/error.ts';
import { dockerfileFrontend } from '../../src/frontend/dockerfile/frontend.ts';
import type { DockerfileRequest, FrontendHost } from '../../src/frontend/types.ts';
import { loadGraphInTurns } from '../../src/llb/graph.ts';
import { image, marshal, type State } from '../../src/llb/llb.ts';
import { Variables } from '../../src/llb/variables.ts';
import { closePool } from '../../src/workers/pool.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { tarOf } from '../kit/images.ts';
import { mostHold, usualHold } from '../kit/thread-time.ts';

const lines = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join('');

const host: FrontendHost = {
  resolveImage: () => Promise.reject(new Error('nothing is looked up here')),
  sourceTime: async () => undefined,
  open: async () => ({
    readFile: async () => undefined,
    stat: async () => undefined,
    readdir: async () => [],
    newest: async () => undefined,
  }),
};

function convert(dockerfileText: string) {
  const request: DockerfileRequest = {
    context: { type: 'local', name: 'context' },
    dockerfileText,
    buildArgs: {},
    labels: {},
    platforms: [],
    noCache: false,
    noCacheFilter: [],
    pull: 'missing',
    network: 'default',
    extraHosts: [],
    shmSize: 0,
    ulimits: [],
    namedContexts: {},
  };
  return dockerfileFrontend(request, host, new AbortController().signal);
}

describe('a Dockerfile', () => {
  // What is loaded and compiled once does not count.
  beforeAll(() => convert(`FROM scratch\n${lines(3000, (i) => `ENV a${i}=b\n`)}`), 120_000);
  afterAll(closePool);

  const scratch = 'FROM scratch\n';
  test.each<[string, string]>([
    [
      '10,000 stages on each other',
      `FROM scratch AS s0\n${lines(10_000, (i) => `FROM s${i} AS s${i + 1}\nENV a${i}=1\n`)}`,
    ],
    ['one instruction of 1 MiB', `${scratch}ENV ${lines(60_000, (i) => `a${i}=$x \\\n`)}z=z\n`],
    [
      'variables in variables',
      `${scratch}${lines(100, () => `ENV a=${'${x:-'.repeat(90)}${'b'.repeat(1000)}${'}'.repeat(90)}\n`)}`,
    ],
    ['names that are nowhere set', scratch + lines(3000, (i) => `ENV a${i}=$b${i}c\n`)],
  ])('of %s', async (_, text) => {
    expect(await usualHold(() => convert(text))).toBeLessThan(mostHold);
  });

  test.each<[string, string, RegExp]>([
    ['ports', scratch + lines(2000, () => 'EXPOSE 1-65535\n'), /exposes more than 65,536 ports/],
    [
      'arguments × commands',
      scratch + lines(3000, (i) => `ARG a${i}=b\n`) + lines(5000, () => 'RUN true\n'),
      /history of its images/,
    ],
    ['instructions', scratch + lines(16_000, (i) => `LABEL a${i}=b\n`), /more than 15000 entries/],
    [
      'labels',
      `${scratch}LABEL ${lines(75_000, (i) => `a${i}=b \\\n`)}z=z\n`,
      /config has more than 70000 names/,
    ],
    [
      'inherited variables',
      `FROM scratch AS s0\n${lines(2200, (i) => `FROM s${i} AS s${i + 1}\nENV a${i}=1\nARG b${i}=1\n`)}`,
      /inherit millions of variables/,
    ],
    [
      'triggers × stages',
      `FROM scratch AS s\n${lines(2000, () => 'ONBUILD ENV a=b\n')}${lines(2000, () => 'FROM s\nENV a=b\n')}FROM scratch\n${lines(2000, (i) => `COPY --from=${i + 1} / /\n`)}`,
      /more than 100,000 ONBUILD triggers/,
    ],
  ])('that multiplies %s is refused', async (_, text, why) => {
    const hold = await usualHold(() =>
      expect(convert(text)).rejects.toMatchObject({
        code: 'exhausted',
        message: expect.stringMatching(why),
      }),
    );
    expect(hold).toBeLessThan(mostHold);
  });

  test('at random', async () => {
    const line = fc.constantFrom(
      ...[
        'FROM scratch AS a\n',
        'FROM a\n',
        'ENV x=$x$x\n',
        `ENV x=\${x//*a*a/b}\n`,
        'ARG y\n',
        `ARG y=\${y:-a}\n`,
        'LABEL $x=$y\n',
      ],
      ...[
        'COPY <<E /\n',
        'E\n',
        'COPY --exclude=*a*a*a*b . /\n',
        'RUN --mount=target=/$x \\\n',
        '# a\n',
        'EXPOSE $x\n',
        'ONBUILD ENV a=b\n',
      ],
    );
    const part = fc.tuple(fc.array(line, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 60 }));
    const file = fc.array(part, { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(file, async (parts) => {
        const text = `FROM scratch AS a\n${parts.map(([some, times]) => some.join('').repeat(times)).join('')}`;
        const hold = await usualHold(() =>
          convert(text).catch((err: unknown) => expect(err).toBeInstanceOf(DrydockError)),
        );
        expect(hold).toBeLessThan(mostHold);
      }),
      { numRuns: 8 },
    );
  });
});

describe('a definition', () => {
  const base = image('docker.io/library/a');

  test('of 20,000 steps beside each other', async () => {
    const over = (sources: State[]) =>
      base
        .run('true', { mounts: sources.map((source, i) => ({ target: `/${i}`, source, readonly: true })) })
        .root();
    const hundred = (at: number) => Array.from({ length: 100 }, (_, i) => base.run(`true ${at} ${i}`).root());
    const definition = marshal(over(Array.from({ length: 200 }, (_, at) => over(hundred(at)))));
    expect(await usualHold(() => loadGraphInTurns(definition))).toBeLessThan(mostHold);
  });

  test('of more steps on each other than can be stacked is refused', async () => {
    const chain = (count: number) => {
      let state: State = base;
      for (let i = 0; i < count; i++) state = state.run(`true ${i}`).root();
      return marshal(state);
    };
    expect((await loadGraphInTurns(chain(500))).vertices).toHaveLength(501);
    await expect(loadGraphInTurns(chain(501))).rejects.toMatchObject({
      code: 'exhausted',
      message: 'more than 500 steps on top of each other cannot be stacked',
      step: expect.stringContaining('true 500'),
    });
  });
});

describe('a build by POST /build', () => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon();
  });
  afterAll(() => daemon.stop());

  const build = async (text: string, query = '') =>
    daemon.ask('POST', `/build${query}`, {
      body: tarOf({ Dockerfile: text }),
      headers: { 'content-type': 'application/x-tar' },
    });
  const labels = (count: number) => `FROM scratch\n${lines(count, (i) => `LABEL a${i}=b\n`)}`;

  test('of 10,000 labels, told in the words of old, lets _ping through', async () => {
    await build(labels(3));
    const hold = await usualHold(async () =>
      expect((await build(labels(10_000))).text).toContain('Successfully built'),
    );
    expect(hold).toBeLessThan(mostHold);
  });

  test('of more COPYs than can be stacked is refused, with the line', async () => {
    const text = `FROM scratch\n${lines(600, (i) => `COPY <<E /x${i}\nhello\nE\n`)}`;
    expect((await build(text)).text).toMatch(/COPY <<E \/x500: more than 500 steps .*\(Dockerfile:1502\)/);
  });

  test.each(['buildargs', 'labels'])('with too many %s is refused', async (name) => {
    const many = Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`a${i}`, 'b']));
    const answer = await build('FROM scratch\n', `?${name}=${encodeURIComponent(JSON.stringify(many))}`);
    expect(answer.text).toContain("the frontend's options are too large: 10001 with ");
  });
});

test('variables: every version is what a Map of its own would be', () => {
  const step = fc.record({
    on: fc.nat({ max: 20 }),
    how: fc.constantFrom('set', 'put', 'delete'),
    name: fc.constantFrom('a', 'b', 'c', 'd'),
    value: fc.constantFrom('1', '2'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const versions = [{ ours: Variables.of([['a', '0']]), map: new Map([['a', '0']]) }];
      for (const { on, how, name, value } of steps) {
        const { ours, map } = versions[on % versions.length] as (typeof versions)[number];
        const next = new Map(map);
        if (how !== 'put') next.delete(name);
        if (how !== 'delete') next.set(name, value);
        versions.push({
          ours: how === 'delete' ? ours.delete(name) : ours[how as 'set'](name, value),
          map: next,
        });
      }
      for (const { ours, map } of versions) {
        expect([...ours]).toEqual([...map]);
        expect([ours.size, ours.get('b'), ours.has('c')]).toEqual([map.size, map.get('b'), map.has('c')]);
      }
    }),
    { numRuns: 200 },
  );
});
