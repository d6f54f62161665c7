/** The memory of blocks is used again by the next layer, and given back when none comes. */
import { expect, test } from 'vitest';
import { freeBlocks, giveBlock, takeBlock } from '../../src/layer/block-memory.ts';

test('a block that was given back is the next one of its size, until nobody has wanted it for a while', async () => {
  const block = takeBlock(1 << 20);
  expect(block).toHaveLength(1 << 20);
  giveBlock(block);
  expect(takeBlock(2 << 20)).not.toBe(block);
  expect(takeBlock(1 << 20)).toBe(block);
  expect(takeBlock(1 << 20)).not.toBe(block);
  giveBlock(block);
  await expect.poll(() => block.buffer.byteLength, { timeout: 30_000 }).toBe(0);
  expect(takeBlock(1 << 20)).toHaveLength(1 << 20);
});

test('no more is kept than a few blocks', () => {
  const blocks = Array.from({ length: 10 }, () => takeBlock(8 << 20));
  for (const block of blocks) giveBlock(block);
  const again = new Set(blocks.map(() => takeBlock(8 << 20)));
  expect(blocks.filter((block) => again.has(block))).toHaveLength(6);
});

test('freeing leaves memory alone that others have a part of', () => {
  const [small, other] = [Buffer.from('small'), Buffer.from('other')];
  const large = Buffer.allocUnsafeSlow(1 << 20);
  freeBlocks([small, large]);
  expect(large.buffer.byteLength).toBe(0);
  expect([small, other].map(String)).toEqual(['small', 'other']);
});
