/** gRPC's frames: found again however they come, and refused before they are kept. */
import { fromBinary } from '@bufbuild/protobuf';
import { array, assert, integer, property, uint8Array } from 'fast-check';
import { expect, test } from 'vitest';
import { BytesReader } from '../../src/grpc/bytes-reader.ts';
import { bytesFrame, bytesIn, Deframer, frame, frameHead } from '../../src/grpc/frame.ts';
import { sendInFrames } from '../../src/grpc/send-bytes.ts';
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

test('the memory of a chunk may be used again for the next one', () => {
  assert(
    property(
      array(uint8Array({ maxLength: 300 }), { maxLength: 10 }),
      integer({ min: 1, max: 100 }),
      (messages, size) => {
        const bytes = Buffer.concat(messages.map((message) => frame(message)));
        const deframer = new Deframer(undefined, { borrowed: true });
        const memory = Buffer.alloc(size);
        const found: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += size) {
          const length = bytes.copy(memory, 0, at, at + size);
          for (const message of deframer.push(memory.subarray(0, length))) found.push(Buffer.from(message));
        }
        expect(found).toEqual(messages.map((message) => Buffer.from(message)));
      },
    ),
    { numRuns: 100 },
  );
});

test('bytes are found in messages of bytes, however the stream is cut, without waiting for whole messages', () => {
  assert(
    property(
      array(uint8Array({ maxLength: 300 }), { maxLength: 10 }),
      array(integer({ min: 1, max: 100 }), { minLength: 1 }),
      (contents, cuts) => {
        const bytes = Buffer.concat(contents.map((content) => bytesFrame(content)));
        const reader = new BytesReader();
        const found: Uint8Array[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const next = at + cuts[i % cuts.length]!;
          found.push(...reader.push(bytes.subarray(at, next)));
          at = next;
        }
        expect(Buffer.concat(found)).toEqual(Buffer.concat(contents));
      },
    ),
    { numRuns: 200 },
  );
  const [half] = new BytesReader().push(bytesFrame(Buffer.alloc(1000)).subarray(0, 500));
  expect(half).toHaveLength(492);
});

test('a stream of bytes with any other message in it is refused', () => {
  const refused = (message: number[]) => () => new BytesReader().push(frame(Buffer.from(message)));
  expect(refused([0x10, 1])).toThrow('not one of bytes');
  expect(refused([0x0a])).toThrow('not one of bytes');
  expect(refused([0x0a, 0x7f, 1])).toThrow('not one of bytes');
  expect(refused([0x0a, 1, 1, 1])).toThrow('not one of bytes');
  expect(refused([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])).toThrow('not one of bytes');
  expect(() => new BytesReader().push(Buffer.from([1, 0, 0, 0, 0]))).toThrow('compressed');
  expect(() => new BytesReader().push(Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]))).toThrow('more than');
});

test('pieces are sent in messages of a size, each when the one before was taken', () => {
  assert(
    property(
      array(uint8Array({ maxLength: 50 }), { maxLength: 8 }),
      integer({ min: 1, max: 40 }),
      (parts, size) => {
        const sent: Buffer[] = [];
        let ended = 0;
        const call = {
          isOver: () => false,
          write(bytes: Buffer, taken: () => void) {
            sent.push(bytes);
            taken();
          },
        };
        sendInFrames(
          parts.map((part) => Buffer.from(part)),
          size,
          call,
          () => ended++,
        );
        expect(ended).toBe(1);
        const messages = new Deframer().push(Buffer.concat(sent)).map((message) => bytesIn(message));
        expect(Buffer.concat(messages)).toEqual(Buffer.concat(parts));
        expect(messages.slice(0, -1).every((message) => message.length === size)).toBe(true);
      },
    ),
    { numRuns: 100 },
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
