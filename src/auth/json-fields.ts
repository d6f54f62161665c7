/**
 * Reads fields of parsed JSON. Throws a JsonFault with the place of a value that does not fit; `what` names the field.
 * Pure.
 */
import { nearest } from '../errors/index.ts';
import { JsonFault, type JsonValue } from './json.ts';

type Members = Map<string, { keyAt: number; value: JsonValue }>;

/** The members of an object. */
export function membersOf(value: JsonValue, what: string): Members {
  if (value.type === 'object') return value.members;
  throw new JsonFault(`${what} must be an object, not ${kindOf(value)}`, value.at);
}

/** The members of an object by their known names. Refuses other names, and says which known one is nearest. */
export function fieldsOf<const K extends string>(
  value: JsonValue,
  what: string,
  known: readonly K[],
): Partial<Record<K, JsonValue>> {
  const fields: Partial<Record<K, JsonValue>> = {};
  for (const [key, { keyAt, value: field }] of membersOf(value, what)) {
    const name = known.find((each) => each === key);
    if (name === undefined) {
      throw new JsonFault(`${what} has no ${JSON.stringify(key)}${meant(key, known)}`, keyAt);
    }
    fields[name] = field;
  }
  return fields;
}

/** The items of a list; none when the value is missing. */
export function listOf(value: JsonValue | undefined, what: string): JsonValue[] {
  if (value === undefined) return [];
  if (value.type === 'array') return value.items;
  throw new JsonFault(`${what} must be a list, not ${kindOf(value)}`, value.at);
}

/** A text that is not empty. */
export function textOf(value: JsonValue, what: string): string {
  if (value.type === 'string' && value.value !== '') return value.value;
  throw new JsonFault(
    `${what} must be text, not ${value.type === 'string' ? 'empty' : kindOf(value)}`,
    value.at,
  );
}

/** A number. */
export function numberOf(value: JsonValue, what: string): number {
  if (value.type === 'number') return value.value;
  throw new JsonFault(`${what} must be a number, not ${kindOf(value)}`, value.at);
}

/** A whole number from 0, as users and groups have them. */
export function idOf(value: JsonValue, what: string): number {
  const id = numberOf(value, what);
  if (Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1) return id;
  throw new JsonFault(`${what} must be a whole number from 0`, value.at);
}

/** Throws for every value but true. */
export function onlyTrue(value: JsonValue, what: string): void {
  if (value.type !== 'boolean' || !value.value) throw new JsonFault(`${what} can only be true`, value.at);
}

/**
 * The one of the known texts that `text` is. The error for another one names the nearest.
 *
 *     oneOf(value, textOf(value, 'cacheMounts'), 'kind of cache mounts', ['private', 'shared'])
 */
export function oneOf<T extends string>(
  value: JsonValue,
  text: string,
  what: string,
  known: readonly T[],
): T {
  const found = known.find((each) => each === text);
  if (found !== undefined) return found;
  const guess = meant(text, known);
  throw new JsonFault(
    `unknown ${what} ${JSON.stringify(text)}${guess === '' ? ` (known: ${known.join(', ')})` : guess}`,
    value.at,
  );
}

/** Throws when two entries have one name. */
export function unique(values: readonly JsonValue[], names: readonly string[], what: string): void {
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0)
    throw new JsonFault(`there are two entries for the ${what} ${names[twice]}`, values[twice]?.at ?? 0);
}

/** ` (did you mean X?)`, or '' when no known text is near. */
export function meant(text: string, known: readonly string[]): string {
  const like = nearest(text, known);
  return like === undefined ? '' : ` (did you mean ${like}?)`;
}

function kindOf(value: JsonValue): string {
  return {
    object: 'an object',
    array: 'a list',
    string: 'text',
    number: 'a number',
    boolean: 'true or false',
    null: 'null',
  }[value.type];
}
