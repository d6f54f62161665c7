/** A step's output as lines, whatever the pieces in which it came. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StepLog } from '../../../src/api/ui/step-log.ts';
import { atOnce } from '../../../src/workers/turns.ts';

function logOf(pieces: readonly string[]): StepLog {
  const log = new StepLog();
  for (const [i, text] of pieces.entries()) log.add({ data: Buffer.from(text), stream: 1, timestamp: i });
  return log;
}

test('the lines are those of all pieces together, from wherever they are read', () => {
  const text = fc.array(fc.constantFrom('\n', 'a', 'B', 'ü', '\n\n', 'long text'), { maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(
        text.map((parts) => parts.join('')),
        { maxLength: 12 },
      ),
      fc.nat(40),
      (pieces, from) => {
        const log = logOf(pieces);
        const lines = pieces.join('').split('\n');
        if (lines.at(-1) === '') lines.pop();
        expect(log.total).toBe(lines.length);
        expect(log.lines(0, 1000).lines.map((line) => line.text)).toEqual(lines);
        expect(log.lines(from, 3).lines.map((line) => line.text)).toEqual(lines.slice(from, from + 3));
        const found = lines.flatMap((line, i) => (line.toLowerCase().includes('b') ? [i] : []));
        expect(atOnce(log.search('b'))).toEqual({ lines: found, more: false });
        expect(Buffer.concat([...log.whole()]).toString()).toBe(pieces.join(''));
      },
    ),
  );
});

test('no line is of both streams', () => {
  const log = new StepLog();
  for (const [stream, text] of [
    [1, 'a\nthree'],
    [2, 'Two\nmore'],
    [1, 'rest\n'],
  ] as const)
    log.add({ data: Buffer.from(text), stream, timestamp: 0 });
  const { lines, total } = log.lines(0, 9);
  expect(lines.map(({ text, stream }) => [text, stream])).toEqual([
    ['a', 1],
    ['three', 1],
    ['Two', 2],
    ['more', 2],
    ['rest', 1],
  ]);
  expect(total).toBe(5);
  for (const [i, line] of lines.entries()) expect(log.lines(i, 1).lines).toEqual([line]);
});

test('a line that never ends is cut, and says so', () => {
  const log = logOf(['x'.repeat(20_000), 'y'.repeat(20_000)]);
  const [line] = log.lines(0, 1).lines;
  expect(line?.text.length).toBeLessThan(17_000);
  expect(line?.text).toContain('more bytes');
});
