/**
 * LLB's messages to and from protobuf's wire format (https://protobuf.dev/programming-guides/encoding/). The shapes
 * and bytes are those of the generated messages (`pb/solver/pb`), which other rooms may mix in; but every command
 * that builds needs LLB, and this is ready at once where the generated code first takes its schema apart.
 */
import type { Message as EsMessage, MessageInitShape } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import { messages } from '../pb/solver/pb/ops_table.js';

type Shape = '' | 'list' | 'packed' | 'map';

interface Field {
  number: number;
  name: string;
  /** A scalar type, `enum`, or a message's type name. */
  type: string;
  shape: Shape;
  oneof: string;
}

/** Names a message type of LLB; `T` is what it looks like. */
export interface Schema<T extends EsMessage> {
  readonly typeName: T['$typeName'];
}

type Value = unknown;
type Plain = Record<string, Value>;

const tables = new Map<string, { fields: readonly Field[]; byNumber: ReadonlyMap<number, Field> }>();

function tableOf(typeName: string) {
  let table = tables.get(typeName);
  if (table === undefined) {
    const rows = messages[typeName];
    if (rows === undefined) throw new Error(`${typeName} is no message of LLB`);
    const fields = rows.map(([number, name, type, shape, oneof]): Field => {
      return { number, name, type, shape: shape as Shape, oneof };
    });
    table = { fields, byNumber: new Map(fields.map((field) => [field.number, field])) };
    tables.set(typeName, table);
  }
  return table;
}

const isMessageType = (type: string) => type.startsWith('pb.');

function zero(type: string): Value {
  switch (type) {
    case 'string':
      return '';
    case 'bool':
      return false;
    case 'int64':
    case 'uint64':
      return 0n;
    case 'bytes':
      return new Uint8Array();
    default:
      return 0;
  }
}

/** Makes a message; what `init` leaves out has its default. */
export function create<T extends EsMessage>(
  schema: Schema<T>,
  init: NoInfer<MessageInitShape<GenMessage<T>>> = {} as never,
): T {
  return build(schema.typeName, init as Plain) as unknown as T;
}

function build(typeName: string, init: Plain): Plain {
  const message: Plain = { $typeName: typeName };
  const sub = (type: string, value: Value): Value => {
    if (!isMessageType(type) || (value as Plain).$typeName !== undefined) return value;
    return build(type, value as Plain);
  };
  for (const { name, type, shape, oneof } of tableOf(typeName).fields) {
    if (oneof !== '') {
      const chosen = init[oneof] as { case?: string; value?: Value } | undefined;
      if (chosen?.case === name) message[oneof] = { case: name, value: sub(type, chosen.value) };
      else message[oneof] ??= { case: undefined };
      continue;
    }
    const value = init[name];
    if (shape === 'list' || shape === 'packed') {
      message[name] = isMessageType(type)
        ? ((value ?? []) as Value[]).map((each) => sub(type, each))
        : (value ?? []);
    } else if (shape === 'map') {
      message[name] = isMessageType(type)
        ? Object.fromEntries(Object.entries(value ?? {}).map(([key, each]) => [key, sub(type, each)]))
        : (value ?? {});
    } else if (isMessageType(type)) message[name] = value === undefined ? undefined : sub(type, value);
    else message[name] = value ?? zero(type);
  }
  return message;
}

/** A message as bytes: fields in the order of their numbers, maps in the order of their keys' insertion. */
export function toBinary<T extends EsMessage>(schema: Schema<T>, message: T): Uint8Array {
  const writer = new Writer();
  writeMessage(writer, schema.typeName, message as unknown as Plain);
  return writer.finish();
}

/** A message from its bytes. Unknown fields are kept. Throws what is wrong with malformed ones. */
export function fromBinary<T extends EsMessage>(schema: Schema<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  return readMessage(reader, schema.typeName, reader.end, 0) as unknown as T;
}

/** A deep copy. */
export function clone<T extends EsMessage>(_schema: Schema<T>, message: T): T {
  return structuredClone(message);
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Bytes of one varint, at most. */
const varintBytes = 10;

class Writer {
  #buffer = Buffer.allocUnsafe(256);
  at = 0;

  room(bytes: number): void {
    if (this.at + bytes <= this.#buffer.length) return;
    const more = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.at + bytes));
    this.#buffer.copy(more, 0, 0, this.at);
    this.#buffer = more;
  }

  varint(value: number): void {
    this.room(varintBytes);
    while (value > 127) {
      this.#buffer[this.at++] = (value & 127) | 128;
      value >>>= 7;
    }
    this.#buffer[this.at++] = value;
  }

  varint64(value: bigint): void {
    this.room(varintBytes);
    let rest = BigInt.asUintN(64, value);
    while (rest > 127n) {
      this.#buffer[this.at++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#buffer[this.at++] = Number(rest);
  }

  tag(number: number, wireType: number): void {
    this.varint((number << 3) | wireType);
  }

  raw(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.#buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  text(text: string): void {
    const length = Buffer.byteLength(text);
    this.varint(length);
    this.room(length);
    this.#buffer.write(text, this.at, 'utf8');
    this.at += length;
  }

  /** Writes a part after its length, which is known once the part is there. */
  measured(write: () => void): void {
    const start = this.at;
    this.varint(0);
    write();
    const length = this.at - start - 1;
    if (length > 127) {
      // The length takes more than the byte that was left for it.
      let extra = 0;
      for (let rest = length >>> 7; rest > 0; rest >>>= 7) extra++;
      this.room(extra);
      this.#buffer.copy(this.#buffer, start + 1 + extra, start + 1, this.at);
      this.at += extra;
    }
    const end = this.at;
    this.at = start;
    this.varint(length);
    this.at = end;
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.at));
  }
}

function isDefault(type: string, value: Value): boolean {
  if (type === 'bytes') return (value as Uint8Array).length === 0;
  return value === '' || value === 0 || value === 0n || value === false || value === undefined;
}

function writeMessage(writer: Writer, typeName: string, message: Plain): void {
  for (const field of tableOf(typeName).fields) {
    const { number, name, type, shape, oneof } = field;
    if (oneof !== '') {
      const chosen = message[oneof] as { case?: string; value?: Value } | undefined;
      if (chosen?.case === name) writeField(writer, number, type, chosen.value);
      continue;
    }
    const value = message[name];
    if (shape === 'list') {
      for (const each of value as Value[]) writeField(writer, number, type, each);
    } else if (shape === 'packed') {
      const list = value as Value[];
      if (list.length === 0) continue;
      writer.tag(number, BYTES);
      writer.measured(() => {
        for (const each of list) writeScalar(writer, type, each);
      });
    } else if (shape === 'map') {
      for (const [key, each] of Object.entries(value as Plain)) {
        writer.tag(number, BYTES);
        writer.measured(() => {
          writeField(writer, 1, 'string', key);
          writeField(writer, 2, type, each);
        });
      }
    } else if (isMessageType(type) ? value !== undefined : !isDefault(type, value)) {
      writeField(writer, number, type, value);
    }
  }
  for (const { no, wireType, data } of (message.$unknown ?? []) as UnknownField[]) {
    writer.tag(no, wireType);
    writer.raw(data);
  }
}

function writeField(writer: Writer, number: number, type: string, value: Value): void {
  if (isMessageType(type)) {
    writer.tag(number, BYTES);
    writer.measured(() => writeMessage(writer, type, value as Plain));
    return;
  }
  writer.tag(number, type === 'string' || type === 'bytes' ? BYTES : VARINT);
  writeScalar(writer, type, value);
}

function writeScalar(writer: Writer, type: string, value: Value): void {
  switch (type) {
    case 'string':
      writer.text(value as string);
      break;
    case 'bytes':
      writer.varint((value as Uint8Array).length);
      writer.raw(value as Uint8Array);
      break;
    case 'bool':
      writer.varint(value === true ? 1 : 0);
      break;
    case 'int64':
    case 'uint64':
      writer.varint64(value as bigint);
      break;
    case 'uint32':
      writer.varint((value as number) >>> 0);
      break;
    default:
      // A negative int32 or enum is ten bytes, as if it were an int64.
      if ((value as number) < 0) writer.varint64(BigInt(value as number));
      else writer.varint(value as number);
  }
}

/** As the generated messages keep it: the field's bytes after its tag. */
interface UnknownField {
  no: number;
  wireType: number;
  data: Uint8Array;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Messages inside messages, at most. */
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

  /** A varint's low 64 bits. Small ones, nearly all, come without a bigint. */
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

  /** Length of what follows, which must be there. Returns where it ends. */
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
    let text = this.#buffer.toString('utf8', this.at, to);
    // Either it was in there, or it stands for bytes that are no UTF-8, which this refuses.
    if (text.includes('\ufffd')) text = strictUtf8.decode(this.#buffer.subarray(this.at, to));
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

/** Numbers of a list may come one by one or in one piece, whatever the schema says. */
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

/** `earlier`: a message that came before in the same field, which a further one adds to. */
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
