/** gRPC's frames: found again however they come, and refused before they are kept. */
import { fromBinary } from '@bufbuild/protobuf';
import { array, assert, integer, property, uint8Array } from 'fast-check';
import { expect, test } from 'vitest';
import { bytesFrame, bytesIn, Deframer, frame, frameHead } from '../../src/grpc/frame.ts';
import { BytesMessageSchema } from '../../src/pb/session/filesync_pb.js';

test('messages are found again, however the bytes are cut', () => {
  assert(
    property(
      array(uint8Array({ maxLength: 300 }), { maxLength: 10 }),
      array(integer({ min: 1, max: 100 }), { minLength: 1 }),
      (messages, cuts) => {
        const bytes = Buffer.concat(messages.map((message) => frame(message)));
        const deframer = new Deframer();
        const found: Buffer[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const next = at + cuts[i % cuts.length]!;
          for (const message of deframer.push(bytes.subarray(at, next))) found.push(Buffer.from(message));
          at = next;
        }
        expect(found).toEqual(messages.map((message) => Buffer.from(message)));
        expect(deframer.empty).toBe(true);
      },
    ),
    { numRuns: 200 },
  );
});

test('a message that is too large, or compressed, is refused before it is kept', () => {
  const large = Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]);
  expect(() => new Deframer().push(large)).toThrow('more than');
  expect(() => new Deframer().push(Buffer.from([1, 0, 0, 0, 0]))).toThrow('compressed');
});

test('messages of bytes', () => {
  for (const size of [0, 1, 127, 128, 16_383, 16_384, 300_000]) {
    const data = Buffer.alloc(size, 'x');
    const [message] = new Deframer().push(bytesFrame(data));
    expect(Buffer.from(fromBinary(BytesMessageSchema, message!).data)).toEqual(data);
    expect(Buffer.from(bytesIn(message!))).toEqual(data);
  }
  expect(() => bytesIn(Buffer.from([0x10, 1]))).toThrow('not one of bytes');
  expect(() => bytesIn(Buffer.from([0x0a, 0x7f, 1]))).toThrow('not one of bytes');
});

test('bytes that are sent as they are follow the head of their frame', () => {
  for (const length of [0, 1, 127, 128, 300_000]) {
    const data = Buffer.alloc(length, 'y');
    const head = frameHead(Buffer.from([0x10, 1]), { field: 6, length });
    const [message] = new Deframer().push(Buffer.concat([head, data]));
    expect([...message!.subarray(0, 3)]).toEqual([0x10, 1, (6 << 3) | 2]);
    expect(Buffer.from(message!.subarray(message!.length - length))).toEqual(data);
  }
});

test('a reader may take larger messages, or none as large', () => {
  const message = frame(Buffer.alloc(17 << 20));
  expect(() => new Deframer().push(message)).toThrow('more than 16777216');
  expect(new Deframer(64 << 20).push(message)).toHaveLength(1);
  expect(() => new Deframer(10).push(frame(Buffer.alloc(11)))).toThrow('more than 10');
});
