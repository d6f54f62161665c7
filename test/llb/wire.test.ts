/** LLB's codec against the generated messages: same shapes, same bytes, for whatever they hold. */
import * as es from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as pb from '../../src/llb/pb.ts';
import type * as generated from '../../src/pb/solver/pb/ops_pb.js';
import { file_solver_pb_ops as file } from '../../src/pb/solver/pb/ops_pb.js';
import { messages } from '../../src/pb/solver/pb/ops_table.js';

const schemas = file.messages.map((message) => ({ typeName: message.typeName }) as typeof pb.OpSchema);
const schemaOf = (name: string) =>
  file.messages.find((m) => m.typeName === name) as typeof generated.OpSchema;

/** Any message of a type, a few levels deep. */
function anyMessage(desc: es.DescMessage, depth = 0): fc.Arbitrary<Record<string, unknown>> {
  const scalar = (type: es.ScalarType): fc.Arbitrary<unknown> => {
    switch (type) {
      case es.ScalarType.STRING:
        return fc.string({ unit: 'grapheme', maxLength: 200 });
      case es.ScalarType.BYTES:
        return fc.uint8Array({ maxLength: 300 });
      case es.ScalarType.BOOL:
        return fc.boolean();
      case es.ScalarType.INT64:
        return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
      case es.ScalarType.UINT64:
        return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
      case es.ScalarType.UINT32:
        return fc.integer({ min: 0, max: 2 ** 32 - 1 });
      default:
        return fc.integer();
    }
  };
  const sub = (message: es.DescMessage) => anyMessage(message, depth + 1);
  const deep = depth > 3;
  const record: Record<string, fc.Arbitrary<unknown>> = {};
  for (const member of desc.members) {
    if (member.kind === 'oneof') {
      const cases = member.fields.map((field) =>
        (field.message ? sub(field.message) : scalar(field.scalar as es.ScalarType)).map((value) => {
          return { case: field.localName, value };
        }),
      );
      record[member.localName] = deep ? fc.constant({ case: undefined }) : fc.oneof(...cases);
      continue;
    }
    const one = () =>
      member.message ? sub(member.message) : member.enum ? fc.nat(2) : scalar(member.scalar as es.ScalarType);
    if (deep && member.message) continue;
    if (member.fieldKind === 'list') record[member.localName] = fc.array(one(), { maxLength: 3 });
    else if (member.fieldKind === 'map') {
      // Keys that look like numbers are ordered by JavaScript itself, in both.
      record[member.localName] = fc.dictionary(fc.string({ minLength: 1 }), one(), {
        maxKeys: 3,
        noNullPrototype: true,
      });
    } else record[member.localName] = one();
  }
  return fc.record(record, { requiredKeys: [] });
}

describe('LLB on the wire', () => {
  test('the table has all messages', () => {
    expect(Object.keys(messages).sort()).toEqual(file.messages.map((m) => m.typeName).sort());
  });

  test.each(schemas.map((schema) => [schema.typeName, schema] as const))(
    '%s: the same bytes and shapes as the generated code',
    (name, schema) => {
      const desc = schemaOf(name);
      fc.assert(
        fc.property(anyMessage(desc), (init) => {
          const theirs = es.toBinary(desc, es.create(desc, init));
          const ours = pb.toBinary(schema, pb.create(schema, init as never));
          expect(Buffer.from(ours).toString('hex')).toBe(Buffer.from(theirs).toString('hex'));
          const read = pb.fromBinary(schema, theirs);
          expect(read).toEqual(es.fromBinary(desc, theirs));
          expect(pb.toBinary(schema, read)).toEqual(theirs);
          // Each takes the other's messages.
          expect(es.toBinary(desc, read)).toEqual(theirs);
          expect(pb.toBinary(schema, es.fromBinary(desc, theirs))).toEqual(theirs);
          expect(pb.toBinary(schema, pb.clone(schema, read))).toEqual(theirs);
        }),
        { numRuns: 30 },
      );
    },
  );

  test('any bytes are a message or an error, as with the generated code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        let ours: unknown;
        try {
          ours = pb.fromBinary(pb.DefinitionSchema, bytes);
        } catch (err) {
          expect(err).toBeInstanceOf(Error);
          return;
        }
        expect(ours).toMatchObject({ $typeName: 'pb.Definition' });
      }),
      { numRuns: 2000 },
    );
  });

  test('unknown fields come back as they were', () => {
    const bytes = Uint8Array.from([
      ...pb.toBinary(pb.OpSchema, pb.create(pb.OpSchema)),
      0xa2,
      6,
      2,
      1,
      2,
      0xa8,
      6,
      5,
    ]);
    expect(pb.toBinary(pb.OpSchema, pb.fromBinary(pb.OpSchema, bytes))).toEqual(bytes);
  });

  test('hostile bytes: too deep, too long, cut off', () => {
    // Source of a SourceInfo of a Source …
    let nested = new Uint8Array();
    const wrap = (number: number, bytes: Uint8Array) => {
      const length: number[] = [];
      for (let rest = bytes.length; ; rest >>>= 7) {
        length.push(rest > 127 ? (rest & 127) | 128 : rest);
        if (rest <= 127) break;
      }
      return Uint8Array.from([(number << 3) | 2, ...length, ...bytes]);
    };
    for (let i = 0; i < 60; i++) nested = wrap(3, wrap(2, wrap(3, nested)));
    expect(() => pb.fromBinary(pb.DefinitionSchema, nested)).toThrow('nested deeper');
    expect(() => pb.fromBinary(pb.DefinitionSchema, Uint8Array.from([10, 200, 1]))).toThrow('longer than');
    expect(() => pb.fromBinary(pb.OpSchema, Uint8Array.from([10]))).toThrow('in the middle');
    expect(() => pb.fromBinary(pb.OpSchema, Uint8Array.from([0xff, 0xff]))).toThrow('in the middle');
    expect(() => pb.fromBinary(pb.OpSchema, Uint8Array.from([0, 0]))).toThrow('impossible number');
  });

  test('strings that are no UTF-8 stay the bytes they are, as BuildKit’s peers send names of files', () => {
    const bytes = Uint8Array.from([10, 4, 0x63, 0xff, 0xc3, 0xa9]);
    const input = pb.fromBinary(pb.InputSchema, bytes);
    expect(input.digest).toBe('c\udcffé');
    expect(pb.toBinary(pb.InputSchema, input)).toEqual(bytes);
  });

  test('a map’s key cannot change what objects inherit', () => {
    const bytes = pb.toBinary(
      pb.OpMetadataSchema,
      pb.create(pb.OpMetadataSchema, { description: { __proto__x: 'a' } }),
    );
    const evil = Buffer.from(bytes.map((b) => b));
    const at = evil.indexOf('__proto__x');
    expect(at).toBeGreaterThan(0);
    const shorter = Buffer.concat([evil.subarray(0, at + 9), evil.subarray(at + 10)]);
    shorter[1] = (shorter[1] ?? 0) - 1;
    shorter[3] = (shorter[3] ?? 0) - 1;
    const read = pb.fromBinary(pb.OpMetadataSchema, shorter);
    expect(Object.keys(read.description)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(read.description)).toBe(Object.prototype);
  });
});
