/** Decodes messages that may be hostile: what they cost is looked at first, and large ones are decoded in turns. */
import {
  create,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageShape,
  mergeFromBinary,
  ScalarType,
} from '@bufbuild/protobuf';
import { getTextEncoding } from '@bufbuild/protobuf/wire';
import { inTurns } from '../workers/index.ts';
import { Parts, tooManyParts, weightOf } from './weight.ts';

/** The weight that is decoded without interruption: some 5 ms. */
export const together = 100_000;

/** Decodes a short message, such as an answer of a client. Throws `invalid` on one that is not short. */
export function decodeShort<T extends DescMessage>(schema: T, bytes: Uint8Array): MessageShape<T> {
  weightOf(schema, bytes, together);
  return fromBinary(schema, bytes);
}

/**
 * Decodes a message that was weighed, with turns for other work between its parts. Throws `invalid` when there is too
 * much in one part that cannot be divided. `step`: the weight of the pieces.
 */
export function decodeInTurns<T extends DescMessage>(
  schema: T,
  bytes: Uint8Array,
  step = together,
): Promise<MessageShape<T>> {
  const message = create(schema);
  return inTurns(
    (function* () {
      yield* readInto(schema, message, bytes, step);
      return message;
    })(),
  );
}

/** A message of any type, by the names of its fields. */
type Fields = Message & Record<string, unknown>;

/** Reads a message's bytes into it: a message may be decoded in pieces, which are added to each other. */
function* readInto(
  schema: DescMessage,
  target: Message,
  bytes: Uint8Array,
  step: number,
): Generator<void, void> {
  const parts = new Parts(bytes);
  let from = 0;
  let weight = 0;
  const decode = (to: number) => {
    if (to > from) mergeFromBinary(schema, target as MessageShape<DescMessage>, bytes.subarray(from, to));
    weight = 0;
  };
  while (parts.at < bytes.length) {
    const start = parts.at;
    parts.next(schema, bytes.length);
    const { at: end, from: content, known } = parts;
    const more = parts.weight(step);
    parts.at = end;
    if (more > step) {
      decode(start);
      from = end;
      yield;
      if (known === undefined) throw tooManyParts();
      yield* readPart(known.field, target as Fields, bytes.subarray(content, end), step);
      continue;
    }
    weight += more;
    if (weight < step) continue;
    decode(end);
    from = end;
    yield;
  }
  decode(bytes.length);
}

/** Reads a large field: a message, one more of a list of messages, or an entry of a map of them. */
function* readPart(
  field: DescMessage['fields'][number],
  target: Fields,
  bytes: Uint8Array,
  step: number,
): Generator<void, void> {
  const { message: schema, localName, oneof } = field;
  if (schema === undefined || oneof !== undefined) throw tooManyParts();
  if (field.fieldKind === 'list') {
    const item = create(schema);
    (target[localName] as Message[]).push(item);
    return yield* readInto(schema, item, bytes, step);
  }
  if (field.fieldKind === 'map') {
    if (field.mapKey !== ScalarType.STRING) throw tooManyParts();
    const entry = new Parts(bytes);
    let key = '';
    const value = create(schema);
    while (entry.at < bytes.length) {
      entry.next(undefined, bytes.length);
      const content = bytes.subarray(entry.from, entry.at);
      if (entry.number === 1) key = getTextEncoding().decodeUtf8(content);
      if (entry.number === 2) yield* readInto(schema, value, content, step);
    }
    const own = { value, enumerable: true, configurable: true, writable: true };
    Object.defineProperty(target[localName], key, own);
    return;
  }
  target[localName] ??= create(schema);
  yield* readInto(schema, target[localName] as Message, bytes, step);
}
