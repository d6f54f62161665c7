/** What `drydock explain` tells of builds that are over, here and at a daemon: of one, and of two what differs. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildReport, comparedBuilds, listedBuilds } from '../../src/explain/reports.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

let daemon: TestDaemon;
const builds = new Builds();
const cli = new Cli();
beforeAll(async () => {
  daemon = await startTestDaemon();
  await builds.use(daemon.engine);
});
afterAll(async () => {
  await daemon.stop();
  cli.close();
  rmSync(builds.dir, { recursive: true, force: true });
  await closePool();
});

const place = () => ({ folder: daemon.engine.store.root, listDb: daemon.engine.explain?.listDb ?? '' });
const linesOf = ({ steps }: { steps: { step: string; lines: string[] }[] }) =>
  Object.fromEntries(steps.map(({ step, lines }) => [step.replace(/^\[.*?\] /, ''), lines[0]]));

test('two builds: each step, however it differs', async () => {
  const dir = builds.context({ src: 'a', 'data/x': '1' });
  const build = async (text: string, args: Record<string, string> = {}) => {
    await builds.build(
      text,
      {},
      { context: dir, dockerfileText: text, buildArgs: args, tags: ['explained'] },
    );
    return listedBuilds(place())[0]?.id ?? '';
  };
  const text = (more = '') => `FROM base\nRUN true\nARG V\nRUN echo \${V:-0} >/v\nCOPY data /data\n${more}`;
  const first = await build(text('RUN ls /data\n'), { V: '1' });
  writeFileSync(join(dir, 'data/x'), '2');
  writeFileSync(join(dir, 'data/y'), '2');
  const second = await build(text('RUN ls /data\nRUN echo more\n'), { V: '2' });
  expect(second).not.toBe(first);
  const differences = linesOf(await comparedBuilds(place(), first, second));
  expect(differences).toMatchObject({
    'RUN true':
      'ran only in the first build: not cached: it was never built here (no earlier run of it is on record)',
    'COPY data /data': expect.stringMatching(
      /^2 files changed: data\/x \(contents\), data\/y \(added\); an earlier step changed: .*RUN echo/,
    ),
    'RUN ls /data': expect.stringMatching(
      /^the build argument or variable V has another value .*; an earlier step changed: .*COPY/,
    ),
    'RUN echo more': expect.stringMatching(/^ran only in the second build: not cached: /),
  });
  expect(differences['RUN echo 2 >/v']).toContain('V has another value ("1" → "2")');
  // The same build again, with its cache ignored.
  const anew = async () => {
    const options = { context: dir, dockerfileText: text(), buildArgs: { V: '2' }, noCache: true };
    await builds.build(text(), {}, options);
    return listedBuilds(place())[0]?.id ?? '';
  };
  const third = await anew();
  expect(linesOf(await comparedBuilds(place(), second, third))).toMatchObject({
    'RUN true': expect.stringContaining('ran only in the second build: not cached: its cache was ignored'),
    'RUN echo 2 >/v': expect.stringMatching(/^an earlier step was made anew: .*RUN true$/),
  });
  const repeated = linesOf(await comparedBuilds(place(), third, await anew()));
  expect(new Set(Object.values(repeated))).toEqual(
    new Set(['ran in both, and is the same step on the same inputs']),
  );
  await expect(comparedBuilds(place(), first, 'none')).rejects.toMatchObject({ code: 'not-found' });
});

test('the command says the same here and at a daemon', async () => {
  const host = ['--host', `unix://${daemon.socket}`];
  const [latest, before] = listedBuilds(place());
  const here = buildReport(place());
  expect(here.builds).toEqual([latest]);
  const there = await cli.ok([...host, 'explain']);
  expect(there.stdout).toContain(`Build ${latest?.id}`);
  for (const { lines } of here.steps) expect(there.stdout).toContain(`  ${lines[0]}\n`);
  const list = await cli.ok([...host, 'explain', '--list']);
  expect(list.stdout).toContain(latest?.id.slice(0, 12));
  const two = await cli.ok([...host, 'explain', before?.id.slice(0, 8) ?? '', latest?.id.slice(0, 8) ?? '']);
  expect(two.stdout).toContain(`First build ${before?.id}`);
  expect(two.stdout).toContain('ran in both, and is the same step on the same inputs');
  const none = await cli.run([...host, 'explain', 'none']);
  expect(none.code).toBe(1);
  expect(none.stderr).toContain('there is no build none');
  expect((await daemon.ask('GET', '/build/explain?build=a&build=b&build=c')).status).toBe(400);
});
