/** Messages that may be hostile: they are weighed by their bytes, and large ones are decoded in turns. */
import { create, equals, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeInTurns, decodeShort } from '../../src/grpc/decode.ts';
import { mostWeight, weightOf } from '../../src/grpc/weight.ts';
import { SolveRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';

const text = fc.string({ maxLength: 5, unit: 'binary' });
const texts = fc.dictionary(fc.oneof(text, fc.constant('__proto__')), text, { maxKeys: 8 });
const definition = fc.record({
  def: fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 8 }),
  metadata: fc.dictionary(text, fc.record({ description: texts, ignoreCache: fc.boolean() }), { maxKeys: 5 }),
});
const requests: fc.Arbitrary<MessageInitShape<typeof SolveRequestSchema>> = fc.record({
  Ref: text,
  Definition: definition,
  FrontendAttrs: texts,
  FrontendInputs: fc.dictionary(text, definition, { maxKeys: 4 }),
  Exporters: fc.array(fc.record({ Type: text, Attrs: texts }), { maxLength: 5 }),
  Entitlements: fc.array(text, { maxLength: 5 }),
  SourcePolicy: fc.record({
    version: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    rules: fc.array(fc.record({ action: fc.constantFrom(0, 1, 2), updates: fc.record({ attrs: texts }) })),
  }),
});

test('a message that is decoded in pieces, is the same message', async () => {
  await fc.assert(
    fc.asyncProperty(requests, fc.integer({ min: 40, max: 300 }), async (request, step) => {
      const bytes = toBinary(SolveRequestSchema, create(SolveRequestSchema, request));
      const whole = fromBinary(SolveRequestSchema, bytes);
      expect(equals(SolveRequestSchema, await decodeInTurns(SolveRequestSchema, bytes, step), whole)).toBe(
        true,
      );
    }),
  );
});

/** A decoder that reads a field by its schema and not by its wire type would find other parts than were counted. */
test('what the weigher takes, the decoder reads as it does: bytes that a flip makes never weigh less than they hold', () => {
  fc.assert(
    fc.property(requests, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), (request, flips) => {
      const bytes = toBinary(SolveRequestSchema, create(SolveRequestSchema, request));
      for (const [at, byte] of flips) if (bytes.length > 0) bytes[at % bytes.length] = byte;
      let weight: number;
      try {
        weight = weightOf(SolveRequestSchema, bytes);
      } catch {
        return;
      }
      let message: unknown;
      try {
        message = fromBinary(SolveRequestSchema, bytes);
      } catch {
        return;
      }
      expect(partsOf(message)).toBeLessThanOrEqual(weight + 1);
    }),
    { numRuns: 2000 },
  );
});

/** The messages, list items and entries of maps that a client has sent in a message. */
function partsOf(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 1;
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + partsOf(item), 0);
  const entries = Object.entries(value).filter(([name]) => !name.startsWith('$'));
  const isMessage = '$typeName' in value;
  const inner = entries.map(([, item]) => (isMessage && typeof item !== 'object' ? 0 : partsOf(item)));
  const { $unknown = [] } = value as { $unknown?: unknown[] };
  return inner.reduce((sum, count) => sum + count, isMessage ? 1 : 0) + $unknown.length;
}

describe('refused before it is decoded', () => {
  const bytes = (...parts: number[]) => Uint8Array.from(parts);
  test.each<[string, Uint8Array]>([
    ['a field of another wire type', bytes(0x08, 0x01)],
    ['a message as a number', bytes(0x68, 0x01)],
    ["the key of a map's entry as a number", bytes(0x3a, 0x02, 0x08, 0x01)],
    ["the value of a map's entry as a number", bytes(0x3a, 0x02, 0x10, 0x01)],
    ['a length of more than 32 bits', bytes(0x6a, 0x80, 0x80, 0x80, 0x80, 0x10)],
    ['a length that takes more bytes than it needs', bytes(0x6a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00)],
    ['a part that is longer than its message', bytes(0x6a, 0x02, 0x0a, 0x01, 0x00)],
    ['a group', bytes(0xfb, 0x07, 0xfc, 0x07)],
    ['half a number', bytes(0xf8, 0x07, 0x80)],
  ])('%s', (_, message) => {
    expect(() => decodeShort(SolveRequestSchema, message)).toThrow('the message is not one of protobuf');
  });

  test('more parts than an answer has', () => {
    expect(() => decodeShort(SolveRequestSchema, empties(50_000))).toThrow('the message has too many parts');
    expect(decodeShort(SolveRequestSchema, empties(100)).Exporters).toHaveLength(100);
  });

  test('more parts than any message has', () => {
    expect(weightOf(SolveRequestSchema, empties(100_000))).toBeLessThan(mostWeight);
    expect(() => weightOf(SolveRequestSchema, empties(8_000_000))).toThrow('the message has too many parts');
  });
});

function empties(count: number): Uint8Array {
  return new Uint8Array(Buffer.alloc(count * 2, Buffer.from([0x6a, 0])));
}
