/** Encodes LLB's messages into protobuf's wire format. */
import type { Message as EsMessage } from '@bufbuild/protobuf';
import { bytesOf } from '../../linux/index.ts';
import {
  BYTES,
  isMessageType,
  type Plain,
  type Schema,
  tableOf,
  type UnknownField,
  VARINT,
  type Value,
} from './messages.ts';

/** Encodes a message: fields in the order of their numbers, maps in the order in which their keys were inserted. */
export function toBinary<T extends EsMessage>(schema: Schema<T>, message: T): Uint8Array {
  const writer = new Writer();
  writeMessage(writer, schema.typeName, message as unknown as Plain);
  return writer.finish();
}

/** The largest number of bytes in one varint. */
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
    if (!text.isWellFormed()) {
      const bytes = bytesOf(text);
      this.varint(bytes.length);
      this.raw(bytes);
      return;
    }
    const length = Buffer.byteLength(text);
    this.varint(length);
    this.room(length);
    this.#buffer.write(text, this.at, 'utf8');
    this.at += length;
  }

  /** Writes a part and its length before it, which is known only afterwards. */
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
