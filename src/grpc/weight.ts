/**
 * What a message will cost to decode, by its bytes. A part of two bytes becomes an object: 16 MiB of them took seconds
 * and a gigabyte. https://protobuf.dev/programming-guides/encoding
 */
import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { fail } from '../errors/index.ts';

/** The weight of a part. One of 1 takes some 40 ns to decode. */
const weights = { entry: 8, message: 4, unknown: 3, plain: 1 } as const;

/** The memory that a message takes at most for each 1 of its weight, in bytes, besides its own bytes. */
export const bytesOfWeight = 60;

/** The heaviest message that is decoded: some 80,000 ops with their metadata, 10 times what 16 MiB of a build hold. */
export const mostWeight = 2_000_000;

/** How deep messages may be nested: protobuf's usual limit. */
const maxDepth = 100;

/** The wire types. */
const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5] as const;

/** What is known of a field. */
interface Known {
  readonly field: DescField;
  /** Its wire type; of a map's field, those of an entry's key and value as well. */
  readonly type: number;
  readonly entry?: readonly [key: number, value: number];
  /** Whether it may come as a list of numbers in one piece. */
  readonly packs: boolean;
  readonly weight: number;
}

const tables = new WeakMap<DescMessage, ReadonlyMap<number, Known>>();

function tableOf(schema: DescMessage): ReadonlyMap<number, Known> {
  let table = tables.get(schema);
  if (table === undefined) {
    table = new Map(schema.fields.map((field) => [field.number, known(field)]));
    tables.set(schema, table);
  }
  return table;
}

function known(field: DescField): Known {
  const { fieldKind: kind } = field;
  const value = field.message === undefined ? wireTypeOf(field.scalar) : BYTES;
  if (kind === 'map') {
    const entry = [wireTypeOf(field.mapKey), value] as const;
    return { field, type: BYTES, entry, packs: false, weight: weights.entry };
  }
  const packs = kind === 'list' && value !== BYTES;
  return { field, type: value, packs, weight: field.message === undefined ? weights.plain : weights.message };
}

function wireTypeOf(scalar: ScalarType | undefined): number {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return BYTES;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return FIXED64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return FIXED32;
    default:
      return VARINT;
  }
}

/** Walks over the parts of a message. Throws `invalid` (hop `host`) on bytes that decoders might read otherwise. */
export class Parts {
  readonly #bytes: Uint8Array;
  /** Where the next part begins. */
  at: number;
  /** The number of the part that was read last, and where its content begins. */
  number = 0;
  from = 0;
  /** Its field; undefined when its number is unknown. */
  known: Known | undefined;
  #type = 0;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** Reads past the next part of a message of this schema (undefined: all of it is unknown), which ends at `end`. */
  next(schema: DescMessage | undefined, end: number): void {
    const tag = this.#varint(end);
    this.number = Math.floor(tag / 8);
    this.#type = tag % 8;
    this.known = schema && tableOf(schema).get(this.number);
    this.#pass(end);
    if (this.known === undefined || this.#type === this.known.type) return;
    // A decoder reads a field as its schema says, and not as the part does.
    if (!(this.known.packs && this.#type === BYTES)) throw malformed();
  }

  #pass(end: number): void {
    switch (this.#type) {
      case VARINT:
        this.from = this.at;
        this.#skipVarint(end);
        break;
      case BYTES: {
        const length = this.#varint(end);
        this.from = this.at;
        this.at += length;
        break;
      }
      case FIXED32:
      case FIXED64:
        this.from = this.at;
        this.at += this.#type === FIXED32 ? 4 : 8;
        break;
      default: // groups, which nobody makes any more
        throw malformed();
    }
    if (this.at > end) throw malformed();
  }

  /** The weight of the part that was read last and of all that is in it, as soon as it is more than `most`. */
  weight(most: number, depth = 1): number {
    const { known, from, at } = this;
    if (known === undefined) return weights.unknown;
    // The bytes of packed numbers are at least as many as the numbers.
    if (known.packs && this.#type === BYTES) return known.weight + at - from;
    if (known.entry !== undefined) return known.weight + this.#entryWeight(known, known.entry, most, depth);
    const inner = known.field.message;
    return inner === undefined ? known.weight : known.weight + this.#within(inner, from, at, most, depth);
  }

  #within(schema: DescMessage, from: number, end: number, most: number, depth: number): number {
    if (depth > maxDepth) throw malformed();
    let weight = 0;
    this.at = from;
    while (this.at < end && weight <= most) {
      this.next(schema, end);
      const next = this.at;
      weight += this.weight(most - weight, depth + 1);
      this.at = next;
    }
    return weight;
  }

  /** An entry of a map has its key in field 1 and its value in field 2. */
  #entryWeight({ field }: Known, types: readonly number[], most: number, depth: number): number {
    const { from, at: end } = this;
    let weight = 0;
    this.at = from;
    while (this.at < end && weight <= most) {
      this.next(undefined, end);
      weight += weights.plain;
      if (this.#type !== (types[this.number - 1] ?? this.#type)) throw malformed();
      if (this.number !== 2 || field.message === undefined) continue;
      const next = this.at;
      weight += weights.message + this.#within(field.message, this.from, next, most - weight, depth + 1);
      this.at = next;
    }
    return weight;
  }

  /** Reads a tag or a length: 32 bits in at most five bytes, and nothing that decoders would cut off. */
  #varint(end: number): number {
    let value = 0;
    for (let scale = 1, i = 0; i < 5 && this.at < end; i++, scale *= 128) {
      const byte = this.#bytes[this.at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value > 0xffff_ffff) break;
        return value;
      }
    }
    throw malformed();
  }

  #skipVarint(end: number): void {
    for (let i = 0; i < 10 && this.at < end; i++) if ((this.#bytes[this.at++] as number) < 128) return;
    throw malformed();
  }
}

function malformed() {
  return fail('invalid', 'host', 'the message is not one of protobuf, or not of this method');
}

/** The error of a message that is too heavy. */
export function tooManyParts() {
  return fail('invalid', 'host', 'the message has too many parts', {
    hint: 'Divide what is asked for into smaller requests.',
  });
}

/** The weight of a message. Throws `invalid` (hop `host`) when it is more than `most`, or the bytes are malformed. */
export function weightOf(schema: DescMessage, bytes: Uint8Array, most = mostWeight): number {
  const parts = new Parts(bytes);
  let weight = 0;
  while (parts.at < bytes.length) {
    parts.next(schema, bytes.length);
    const next = parts.at;
    weight += parts.weight(most - weight);
    parts.at = next;
    if (weight > most) throw tooManyParts();
  }
  return weight;
}
