import { expect, test } from 'vitest';
import { PlainPrinter } from '../../src/cli/progress/plain.ts';
import { RawJsonPrinter } from '../../src/cli/progress/rawjson.ts';
import { TtyPrinter } from '../../src/cli/progress/tty.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { ProgressSink } from '../../src/progress/events.ts';

const at = Date.now();
const one = digestOf('one');
const two = digestOf('two');
const three = digestOf('three');

/** Two steps side by side, a transfer, a cached step and a failure. */
function play(sink: ProgressSink): void {
  sink.vertex({ digest: one, inputs: [], name: '[a 1/2] RUN make' });
  sink.vertex({ digest: one, inputs: [], name: '[a 1/2] RUN make', started: at });
  sink.log({ vertex: one, stream: 1, data: Buffer.from('hel'), timestamp: at + 500 });
  sink.log({ vertex: one, stream: 1, data: Buffer.from('lo\nwor'), timestamp: at + 500 });
  sink.vertex({ digest: two, inputs: [], name: '[b 1/1] COPY . /', started: at });
  sink.status({
    id: 'ctx',
    vertex: two,
    name: 'transferring context',
    current: 2000,
    total: 0,
    timestamp: at,
    started: at,
    completed: at + 100,
  });
  sink.vertex({ digest: two, inputs: [], name: '[b 1/1] COPY . /', started: at, completed: at + 1200 });
  sink.vertex({
    digest: one,
    inputs: [],
    name: '[a 1/2] RUN make',
    started: at,
    completed: at + 2000,
    error: 'exit code: 1',
  });
  sink.vertex({ digest: three, inputs: [], name: '[c 1/1] RUN x', started: at, completed: at, cached: true });
}

function io(columns = 60, rows = 20) {
  const out: string[] = [];
  return {
    out,
    io: {
      write: (text: string) => void out.push(text),
      columns: () => columns,
      rows: () => rows,
      colors: false,
    },
  };
}

test('plain: numbered vertices, one at a time, whole log lines with their time', () => {
  const { out, io: to } = io();
  const printer = new PlainPrinter(to);
  play(printer);
  printer.close();
  const text = out.join('');
  expect(text.startsWith('#1 [a 1/2] RUN make\n#1 0.500 hello\n')).toBe(true);
  expect(text).toMatch(/#1 \S+ wor\n#1 ERROR: exit code: 1\n/);
  expect(text).toContain('#2 [b 1/1] COPY . /\n#2 transferring context: 2kB 0.1s done\n#2 DONE 1.2s\n');
  expect(text).toContain('#3 [c 1/1] RUN x\n#3 CACHED\n');
});

test('tty: one picture, marks and times, within the width', () => {
  const { out, io: to } = io();
  const printer = new TtyPrinter(to);
  play(printer);
  printer.close();
  const lines = out
    .join('')
    .replace(/\x1b\[[0-9]*[A-Z]/g, '')
    .split('\n');
  expect(lines[0]).toMatch(/^\[\+\] Building \d+\.\ds FINISHED$/);
  expect(lines).toContainEqual(expect.stringMatching(/^ => ERROR \[a 1\/2\] RUN make +2\.0s$/));
  expect(lines).toContainEqual(expect.stringMatching(/^ => CACHED \[c 1\/1\] RUN x +0\.0s$/));
  expect(lines).toContainEqual(expect.stringMatching(/^ => => transferring context: 2kB +0\.1s$/));
  for (const line of lines) expect(line.length).toBeLessThan(60);
});

test('rawjson: SolveStatus objects, one a line', () => {
  const { out, io: to } = io();
  play(new RawJsonPrinter(to));
  const objects = out.map((line) => JSON.parse(line));
  expect(objects[1].vertexes[0]).toMatchObject({ digest: one, started: new Date(at).toISOString() });
  expect(Buffer.from(objects[2].logs[0].data, 'base64').toString()).toBe('hel');
  expect(objects.at(-1).vertexes[0]).toMatchObject({ cached: true });
});

test('a terminal too narrow for a digest still shows the transfer beside it', () => {
  const { out, io: to } = io(60);
  const printer = new TtyPrinter(to);
  printer.vertex({ digest: one, inputs: [], name: '[1/1] FROM base', started: at });
  const transfer = { current: 2000, total: 4000, timestamp: at, started: at, completed: at + 100 };
  printer.status({ id: one, vertex: one, name: one, ...transfer });
  printer.close();
  expect(out.join('')).toContain(` => => ${one.slice(0, 19)}… 2kB / 4kB`);
});
