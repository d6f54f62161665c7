/**
 * Encodes and decodes LLB's messages in protobuf's wire format (https://protobuf.dev/programming-guides/encoding/).
 * Shapes and bytes are those of the generated messages (`pb/solver/pb`), so other rooms may mix both. Every command
 * that builds needs LLB, and this code is ready at once, while the generated code must first take its schema apart.
 */
import type { Message as EsMessage, MessageInitShape } from '@bufbuild/protobuf';
import type { GenMessage } from '@bufbuild/protobuf/codegenv2';
import { messages } from '../../pb/solver/pb/ops_table.js';

type Shape = '' | 'list' | 'packed' | 'map';

/** One field of a message type. */
export interface Field {
  number: number;
  name: string;
  /** A scalar type, `enum`, or the type name of a message. */
  type: string;
  shape: Shape;
  oneof: string;
}

/** The name of one of LLB's message types; `T` is the shape of its messages. */
export interface Schema<T extends EsMessage> {
  readonly typeName: T['$typeName'];
}

export type Value = unknown;
export type Plain = Record<string, Value>;

const tables = new Map<string, { fields: readonly Field[]; byNumber: ReadonlyMap<number, Field> }>();

export function tableOf(typeName: string) {
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

export const isMessageType = (type: string) => type.startsWith('pb.');

export function zero(type: string): Value {
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

/** Makes a message; fields missing in `init` get their defaults. */
export function create<T extends EsMessage>(
  schema: Schema<T>,
  init: NoInfer<MessageInitShape<GenMessage<T>>> = {} as never,
): T {
  return build(schema.typeName, init as Plain) as unknown as T;
}

export function build(typeName: string, init: Plain): Plain {
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

/** Returns a deep copy. */
export function clone<T extends EsMessage>(_schema: Schema<T>, message: T): T {
  return structuredClone(message);
}

/** Wire types. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

/** A field that the schema does not know, as the generated messages keep it: the field's bytes after its tag. */
export interface UnknownField {
  no: number;
  wireType: number;
  data: Uint8Array;
}
