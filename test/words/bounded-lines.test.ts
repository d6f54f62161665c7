import { expect, test } from 'vitest';
import { boundedLines } from '../../src/words/bounded-lines.ts';

async function* of(...chunks: string[]) {
  for (const chunk of chunks) yield Buffer.from(chunk, 'latin1');
}

test('lines come whole, wherever the chunks end', async () => {
  expect(await Array.fromAsync(boundedLines(of('a\nb', '', 'c\n\n', '\xc3', '\xa9'), 10))).toEqual([
    'a',
    'bc',
    '',
    'é',
  ]);
});

test('a line that is too long is an error as soon as it is, and what came before it is told', async () => {
  const got: string[] = [];
  const read = async () => {
    for await (const line of boundedLines(of('ok\n', '123', '456', '\n'), 5)) got.push(line);
  };
  await expect(read()).rejects.toThrow('a line of more than 5 bytes');
  expect(got).toEqual(['ok']);
});
