/** What names, labels and Dockerfiles of others say is shown by a terminal, and not done. */
import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { errorText } from '../../src/cli/error-text.ts';
import { details } from '../../src/cli/history/text.ts';
import { createPrinter } from '../../src/cli/progress/printer.ts';
import { table } from '../../src/cli/units.ts';
import { DrydockError } from '../../src/errors/error.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { inert, inertLine } from '../../src/words/index.ts';

const evil = 'a\u001b]0;title\u0007\u009b2J\r\u202eb\tc';
const shown = 'a\ufffd]0;title\ufffd\ufffd2J\ufffd\ufffdb\tc';

test('signs that a terminal obeys are replaced, all others stay', () => {
  expect(inert(evil)).toBe(shown);
  const plain = 'ünï — 日本 👩‍💻\n\tשלום';
  expect(inert(plain)).toBe(plain);
  expect(inertLine('RUN <<E\n  x\nE')).toBe('RUN <<E x E');
});

test('rows cannot be forged, nor can facts of a build', () => {
  expect(
    table([
      ['ID', 'NAME'],
      ['1', `x\n2    ${evil}`],
    ]),
  ).toBe(`ID   NAME\n1    x 2    ${shown}\n`);
  const text = details({
    ...{ ref: 'r', name: evil, status: 'error', createdAt: 0, completedAt: 1, duration: 1, frontend: '' },
    ...{
      context: evil,
      dockerfile: evil,
      target: evil,
      platforms: [evil],
      images: [evil],
      digest: undefined,
    },
    ...{ buildArgs: { [evil]: evil }, labels: { [evil]: evil }, error: evil, pinned: false, attachments: [] },
    steps: { total: 0, completed: 0, cached: 0, warnings: 0 },
  });
  expect(text).toContain(`Error:       ${shown}\n`);
  expect(text).not.toMatch(/[\u001b\u0007\u009b\u202e\r]/);
});

test('an error shows the Dockerfile and the step as they are, and the output with its colours', () => {
  const at = { line: 1, character: 0 };
  const error = new DrydockError(evil, {
    code: 'failed',
    hint: evil,
    source: { filename: evil, text: evil, ranges: [{ start: at, end: at }] },
  });
  error.step = evil;
  error.logTail = ['\u001b[31mred\u001b[0m'];
  const text = errorText(error);
  expect(text).toContain('\u001b[31mred\u001b[0m\n');
  expect(text.replace(/\u001b\[\d*m/g, '')).not.toMatch(/[\u001b\u0007\u009b\u202e\r]/);
});

test.each(['tty', 'plain'] as const)('progress (%s): names, transfers, warnings and errors', (mode) => {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk;
      done();
    },
  });
  const printer = createPrinter(mode, stream as unknown as NodeJS.WriteStream);
  const digest = digestOf('x');
  const vertex = { digest, inputs: [], name: evil, started: 1 };
  printer.vertex(vertex);
  const when = { current: 1, total: 2, timestamp: 1, started: 1, completed: 2 };
  printer.status({ id: evil, vertex: digest, name: evil, ...when });
  printer.warning({ vertex: digest, level: 1, short: evil, detail: [evil] });
  printer.vertex({ ...vertex, completed: 2, error: evil });
  printer.close();
  expect(text).toContain('a\ufffd]0;title');
  expect(text).not.toMatch(/[\u0007\u009b\u202e]|\u001b\]/);
});
