/** Decodes LLB's messages from protobuf's wire format. The bytes may be hostile. */
import type { Message as EsMessage } from '@bufbuild/protobuf';
import { nameOf } from '../../linux/index.ts';
import {
  BYTES,
  build,
  FIXED32,
  FIXED64,
  type Field,
  isMessageType,
  type Plain,
  type Schema,
  tableOf,
  type UnknownField,
  VARINT,
  type Value,
  zero,
} from './messages.ts';

/** Decodes a message. Unknown fields are kept. Throws an error that tells what is wrong with malformed bytes. */
export function fromBinary<T extends EsMessage>(schema: Schema<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  return readMessage(reader, schema.typeName, reader.end, 0) as unknown as T;
}

/** How deep messages may be nested. */
const maxDepth = 100;

class Reader {
  readonly #buffer: Buffer;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get end(): number {
    return this.#buffer.length;
  }

  /** Reads a varint's low 64 bits. Small ones, nearly all, come without a bigint. */
  varint(end: number): number | bigint {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte(end);
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
    let big = BigInt(value);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#byte(end);
      big |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, big);
    }
    throw new Error('a varint is longer than ten bytes');
  }

  #byte(end: number): number {
    if (this.at >= end) throw new Error('the message ends in the middle of a field');
    return this.#buffer[this.at++] as number;
  }

  /** Reads the length of a part, which must be within the bytes. Returns the end of the part. */
  span(end: number): number {
    const length = Number(this.varint(end));
    if (length > end - this.at) throw new Error('a field is longer than its message');
    return this.at + length;
  }

  bytes(to: number): Uint8Array {
    const bytes = new Uint8Array(this.#buffer.subarray(this.at, to));
    this.at = to;
    return bytes;
  }

  text(to: number): string {
    const text = nameOf(this.#buffer, this.at, to);
    this.at = to;
    return text;
  }

  skip(wireType: number, end: number): void {
    if (wireType === VARINT) this.varint(end);
    else if (wireType === BYTES) this.at = this.span(end);
    else if (wireType === FIXED32 || wireType === FIXED64) this.at += wireType === FIXED32 ? 4 : 8;
    else throw new Error(`wire type ${wireType} is not known`);
    if (this.at > end) throw new Error('the message ends in the middle of a field');
  }
}

function readMessage(reader: Reader, typeName: string, end: number, depth: number): Plain {
  const message = build(typeName, {});
  readInto(message, reader, typeName, end, depth);
  return message;
}

function readInto(message: Plain, reader: Reader, typeName: string, end: number, depth: number): void {
  if (depth > maxDepth) throw new Error(`messages are nested deeper than ${maxDepth}`);
  const { byNumber } = tableOf(typeName);
  while (reader.at < end) {
    const tag = Number(reader.varint(end));
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number === 0 || tag > 0xffff_ffff) throw new Error('a field has an impossible number');
    const field = byNumber.get(number);
    const wanted = field?.shape === 'map' ? BYTES : wireTypeOf(field?.type ?? '');
    if (field === undefined || (wireType !== wanted && !packs(field, wireType))) {
      const from = reader.at;
      reader.skip(wireType, end);
      const to = reader.at;
      reader.at = from;
      message.$unknown ??= [];
      (message.$unknown as UnknownField[]).push({ no: number, wireType, data: reader.bytes(to) });
      continue;
    }
    readField(message, field, reader, wireType, end, depth);
  }
}

function wireTypeOf(type: string): number {
  return type === 'string' || type === 'bytes' || isMessageType(type) ? BYTES : VARINT;
}

/** Whether a list of numbers comes in one piece. Either form is accepted, whatever the schema says. */
function packs(field: Field, wireType: number): boolean {
  return wireType === BYTES && (field.shape === 'packed' || field.shape === 'list');
}

function readField(
  message: Plain,
  field: Field,
  reader: Reader,
  wireType: number,
  end: number,
  depth: number,
): void {
  const { name, type, shape, oneof } = field;
  if (shape === 'map') {
    const [key, value] = readEntry(reader, type, reader.span(end), depth + 1);
    Object.defineProperty(message[name], key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  } else if (shape === 'list' || shape === 'packed') {
    const list = message[name] as Value[];
    if (wireType === BYTES && wireTypeOf(type) === VARINT) {
      const to = reader.span(end);
      while (reader.at < to) list.push(readValue(reader, type, to, depth));
    } else list.push(readValue(reader, type, end, depth));
  } else if (oneof !== '') {
    const chosen = message[oneof] as { case?: string; value?: Value };
    const earlier = chosen.case === name ? chosen.value : undefined;
    message[oneof] = { case: name, value: readValue(reader, type, end, depth, earlier) };
  } else message[name] = readValue(reader, type, end, depth, message[name]);
}

function readEntry(reader: Reader, type: string, end: number, depth: number): [string, Value] {
  let key = '';
  let value = isMessageType(type) ? undefined : zero(type);
  while (reader.at < end) {
    const tag = Number(reader.varint(end));
    if (tag === ((1 << 3) | BYTES)) key = reader.text(reader.span(end));
    else if (tag === ((2 << 3) | wireTypeOf(type))) value = readValue(reader, type, end, depth);
    else reader.skip(tag % 8, end);
  }
  return [key, value ?? build(type, {})];
}

/** Reads one value. `earlier`: a message read before in the same field, which this one adds to. */
function readValue(reader: Reader, type: string, end: number, depth: number, earlier?: Value): Value {
  switch (type) {
    case 'string':
      return reader.text(reader.span(end));
    case 'bytes':
      return reader.bytes(reader.span(end));
    case 'bool': {
      const value = reader.varint(end);
      return typeof value === 'bigint' ? value !== 0n : value !== 0;
    }
    case 'int64':
      return BigInt.asIntN(64, BigInt(reader.varint(end)));
    case 'uint64':
      return BigInt.asUintN(64, BigInt(reader.varint(end)));
    case 'uint32':
      return Number(BigInt.asUintN(32, BigInt(reader.varint(end))));
    case 'int32':
    case 'enum': {
      const value = reader.varint(end);
      return typeof value === 'number' ? value : Number(BigInt.asIntN(32, value));
    }
    default: {
      const to = reader.span(end);
      if (earlier === undefined) return readMessage(reader, type, to, depth + 1);
      readInto(earlier as Plain, reader, type, to, depth + 1);
      return earlier;
    }
  }
}
