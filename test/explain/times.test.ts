/** How long a build will take, by its earlier runs: told with the reason for which a step runs. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TtyPrinter } from '../../src/cli/progress/tty.ts';
import { ExplainDb } from '../../src/explain/explain-db.ts';
import type { StepFacts } from '../../src/explain/facts.ts';
import { readTimes, timesText } from '../../src/explain/times.ts';
import { timesToEnd } from '../../src/explain/to-end.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Vertex } from '../../src/solver/types.ts';

const vertex = (name: string, ...inputs: Vertex[]) =>
  ({
    name,
    digest: digestOf(name),
    op: { op: { case: undefined } },
    inputs: inputs.map((input) => ({ vertex: input, index: 0 })),
  }) as unknown as Vertex;

test('the way to the end is the longest one', () => {
  const base = vertex('base');
  const [long, short] = [vertex('long', base), vertex('short', base)];
  const last = vertex('last', long, short, base);
  const times: Record<string, number> = { base: 1, long: 100, short: 10, last: 1000 };
  const toEnd = timesToEnd([last, short, long, base], (name) => times[name]);
  expect([base, long, short, last].map(({ digest }) => toEnd.get(digest))).toEqual([1101, 1100, 1010, 1000]);
  // What was never built counts as nothing.
  expect(timesToEnd([last, short, long, base], () => undefined).get(base.digest)).toBe(0);
});

test('times are told where they are worth it, and read again', () => {
  const line = 'not cached: a file changed: a (contents)';
  for (const times of [
    { took: 12_300, toEnd: 52_300 },
    { took: 12_300, toEnd: 12_300 },
  ])
    expect(readTimes(line + timesText(times))).toEqual({ text: line, times });
  expect(timesText({ took: 12_300, toEnd: 52_300 })).toBe(
    '; took 12.3 s before, 52.3 s to the end of the build',
  );
  expect(timesText({ took: 900, toEnd: 1800 })).toBe('');
  expect(readTimes(line)).toEqual({ text: line, times: undefined });
});

test('the last time of a step is kept, also for the step that takes its place', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drydock-times-'));
  const db = new ExplainDb(folder);
  const ran = (name: string, took: number) =>
    db.putRun('mine', { name, record: digestOf(name) } as StepFacts, took);
  ran('[build 2/3] RUN make', 7000);
  ran('[build 2/3] RUN make', 9000.4);
  ran('[build 3/3] RUN test', 100);
  const took = db.tookIn('mine');
  const names = [
    '[build 2/3] RUN make',
    '[build 2/3] RUN make all',
    '[build 1/3] RUN make',
    '[other 2/3] RUN x',
  ];
  expect(names.map(took)).toEqual([9000, 9000, 9000, undefined]);
  expect(db.tookIn('theirs')('[build 2/3] RUN make')).toBeUndefined();
  db.close();
  rmSync(folder, { recursive: true });
});

test('a terminal shows how long it will take, and marks the step that decides it', () => {
  const out: string[] = [];
  const io = {
    write: (text: string) => void out.push(text),
    columns: () => 70,
    rows: () => 20,
    colors: false,
  };
  const printer = new TtyPrinter(io);
  const started = Date.now() - 2000;
  const step = (name: string, times: string) => {
    const digest = digestOf(name);
    printer.vertex({ digest, inputs: [], name, started });
    const data = Buffer.from(`not cached: a file changed: a (contents)${times}\n`);
    printer.log({ vertex: digest, stream: 2, data, timestamp: started, explains: true });
    return { digest, inputs: [], name, started, completed: started + 2000 };
  };
  const one = step('RUN one', '; took 30.0 s before');
  const two = step('RUN two', '; took 10.0 s before, 132.0 s to the end of the build');
  const lines = () =>
    out
      .join('')
      .replace(/\x1b\[[0-9]*[A-Z]/g, '')
      .split('\n');
  return expect
    .poll(lines)
    .toContainEqual(expect.stringMatching(/^\[\+\] Building .*\(0\/2\), about 2m \d\ds left$/))
    .then(() => {
      expect(lines()).toContainEqual(expect.stringMatching(/^ => RUN one +\d+\.\ds of ~30s$/));
      expect(lines()).toContainEqual(expect.stringMatching(/^ \*> RUN two +\d+\.\ds of ~10s$/));
      expect(lines()).toContain(' => => not cached: a file changed: a (contents)');
      out.length = 0;
      printer.vertex(one);
      printer.vertex(two);
      printer.close();
      expect(lines()[0]).toMatch(/FINISHED$/);
      expect(lines()).toContainEqual(expect.stringMatching(/^ => RUN two +2\.0s$/));
    });
});
