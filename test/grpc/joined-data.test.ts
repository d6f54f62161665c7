/** DATA frames that come one by one are joined, and nothing else of a connection changes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DataJoiner } from '../../src/grpc/joined-data.ts';

interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

const bytesOf = ({ type, flags, stream, payload }: Frame): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};

const framesIn = (bytes: Buffer): Frame[] => {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    expect(end).toBeLessThanOrEqual(bytes.length);
    frames.push({
      type: bytes[at + 3] as number,
      flags: bytes[at + 4] as number,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return frames;
};

/** Joins what comes in these groups of parts. */
const joined = (groups: readonly (readonly Uint8Array[])[]): Buffer => {
  const joiner = new DataJoiner();
  return Buffer.concat(
    groups.map((parts) => {
      const size = parts.reduce((sum, { length }) => sum + length, 0);
      const memory = Buffer.alloc(DataJoiner.room(parts.length, size));
      return memory.subarray(0, joiner.join(parts, memory));
    }),
  );
};

const data = (text: string, stream = 1, flags = 0): Frame => ({
  type: 0,
  flags,
  stream,
  payload: Buffer.from(text),
});

test('frames of one stream become one, in their order, up to a frame of another kind or stream', () => {
  const headers: Frame = { type: 1, flags: 4, stream: 1, payload: Buffer.from('head') };
  const all = [data('a'), data('b'), data('c', 3), headers, data('d'), data('e'), data('f', 1, 1)];
  expect(framesIn(joined([all.map(bytesOf)]))).toEqual([
    data('ab'),
    data('c', 3),
    headers,
    data('de'),
    data('f', 1, 1),
  ]);
});

test('a frame that comes in part is passed on as far as it has come', () => {
  const bytes = bytesOf(data('abcdef'));
  const [first, second, third] = [bytes.subarray(0, 5), bytes.subarray(5, 12), bytes.subarray(12)];
  expect(joined([[first]])).toHaveLength(0);
  expect(framesIn(joined([[first], [second], [third]]))).toEqual([data('abc'), data('def')]);
});

test('padded frames, those of no stream and those that are too long are for HTTP/2 to judge', () => {
  const padded = data('\x01ab', 1, 8);
  const lost = data('x', 0);
  const long: Frame = { ...data(''), payload: Buffer.alloc((256 << 10) + 1) };
  const all = [padded, padded, lost, lost, long, long];
  expect(joined([all.map(bytesOf)]).equals(Buffer.concat(all.map(bytesOf)))).toBe(true);
});

test('however a connection is cut, its streams and its other frames stay as they are', () => {
  const frame = fc.record({
    type: fc.constantFrom(0, 0, 0, 1, 4, 8),
    flags: fc.constantFrom(0, 0, 0, 1),
    stream: fc.constantFrom(0, 1, 1, 3),
    payload: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  });
  const cuts = fc.array(fc.nat(30), { minLength: 1, maxLength: 40 });
  /** What a reader of frames gets: bytes of streams in one piece, other frames one by one. */
  const read = (frames: readonly Frame[]) => {
    const seen: Frame[] = [];
    for (const each of frames) {
      const last = seen.at(-1);
      const plain = each.type === 0 && each.flags === 0 && each.stream !== 0;
      if (plain && each.payload.length === 0) continue;
      if (plain && last?.type === 0 && last.flags === 0 && last.stream === each.stream) {
        last.payload = Buffer.concat([last.payload, each.payload]);
      } else seen.push({ ...each });
    }
    return seen;
  };
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 30 }), cuts, (frames, lengths) => {
      const bytes = Buffer.concat(frames.map(bytesOf));
      const groups: Uint8Array[][] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const length = (lengths[i % lengths.length] as number) + 1;
        const part = bytes.subarray(at, at + length);
        // Now a group of its own, now one of many.
        if (length % 3 === 0 || groups.length === 0) groups.push([part]);
        else groups.at(-1)?.push(part);
        at += length;
      }
      expect(read(framesIn(joined(groups)))).toEqual(read(frames));
    }),
  );
});
