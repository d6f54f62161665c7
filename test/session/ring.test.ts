/** Bytes on their way between two threads, in memory that both share. */
import { array, assert, boolean, integer, property, record, uint8Array } from 'fast-check';
import { expect, test } from 'vitest';
import { type RingPart, RingReader, RingWriter } from '../../src/session/fsutil/ring.ts';

test('what is written is read as it was, in any order of writing and giving back', () => {
  const step = record({ write: boolean(), bytes: uint8Array({ minLength: 1, maxLength: 60 }) });
  assert(
    property(integer({ min: 60, max: 200 }), array(step, { maxLength: 200 }), (most, steps) => {
      const reader = new RingReader();
      const writer = new RingWriter(most, (memory) => reader.use(memory));
      const out: { part: RingPart; bytes: Uint8Array }[] = [];
      for (const { write, bytes } of steps) {
        if (write) {
          const cut = bytes.length >> 1;
          const part = writer.write([bytes.subarray(0, cut), bytes.subarray(cut)], bytes.length);
          if (part !== undefined) out.push({ part, bytes });
          // There is room when nothing is out.
          else expect(out.length).toBeGreaterThan(0);
        } else if (out.length > 0) {
          out.shift();
          writer.free();
        }
        for (const { part, bytes: sent } of out) expect(reader.read(part)).toEqual(Buffer.from(sent));
      }
    }),
    { numRuns: 300 },
  );
});

test('the memory is small until more is under way; what is too large for it goes another way', () => {
  const sizes: number[] = [];
  const writer = new RingWriter(4 << 20, (memory) => sizes.push(memory.byteLength));
  const write = (length: number) => writer.write([new Uint8Array(length)], length);
  expect(write(100_000)).toEqual({ at: 0, length: 100_000 });
  writer.free();
  expect(write(200_000)).toEqual({ at: 0, length: 200_000 });
  expect(write(100_000)).toEqual({ at: 0, length: 100_000 });
  expect(sizes).toEqual([256 << 10, 4 << 20]);
  expect(write(5 << 20)).toBeUndefined();
  // The part in the memory before takes no room in this one.
  writer.free();
  expect(write((4 << 20) - 100_000)).toEqual({ at: 100_000, length: (4 << 20) - 100_000 });
  expect(write(1)).toBeUndefined();
  writer.free();
  expect(write(100_000)).toEqual({ at: 0, length: 100_000 });
});
