/** What values are, and how one becomes another: HCL converts numbers and truth values to texts and back where needed. */
import { type Value, type ValueMap, ValueSet } from './types.ts';

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isMap(value: Value): value is ValueMap {
  return value instanceof Map;
}

/** The name of a value's type, for errors. */
export function typeName(value: Value): string {
  if (value === null) return 'null';
  if (isList(value)) return 'tuple';
  if (value instanceof ValueSet) return 'set';
  if (isMap(value)) return 'object';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

/** A number as HCL writes it: without an exponent. */
export function numberText(value: number): string {
  const text = String(value);
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (match === null) return text;
  const [, sign = '', first = '', rest = '', power = '0'] = match;
  const digits = first + rest;
  const point = 1 + Number(power);
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  return sign + digits.padEnd(point, '0');
}

/** The text of a text, a number or a truth value; undefined for others. */
export function textOf(value: Value): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return numberText(value);
  return typeof value === 'boolean' ? String(value) : undefined;
}

/** The number of a number, or of a text that is one; undefined for others. */
export function numberOf(value: Value): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || !/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(value))
    return undefined;
  return Number(value);
}

/** The truth value of a truth value, or of the text `true` or `false`; undefined for others. */
export function boolOf(value: Value): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (value === 'true' || value === '1') return true;
  return value === 'false' || value === '0' ? false : undefined;
}

/** The elements of a tuple, list or set, or an object's values by its keys; undefined for others. */
export function elementsOf(value: Value): readonly Value[] | undefined {
  if (isList(value)) return value;
  if (value instanceof ValueSet) return value.items;
  if (isMap(value)) return sortedEntries(value).map(([, item]) => item);
  return undefined;
}

/** An object's items by their keys, in the order in which HCL goes through them. */
export function sortedEntries(map: ValueMap): [string, Value][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Whether two values are the same, and of the same type. */
export function equals(a: Value, b: Value): boolean {
  if (isList(a)) return isList(b) && sameItems(a, b);
  if (a instanceof ValueSet) return b instanceof ValueSet && sameItems(a.items, b.items);
  if (isMap(a)) {
    if (!isMap(b) || a.size !== b.size) return false;
    return [...a].every(([key, value]) => {
      const other = b.get(key);
      return other !== undefined && equals(value, other);
    });
  }
  return a === b;
}

function sameItems(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((item, i) => equals(item, b[i] as Value));
}

/** A set of these values, of which those of several types become texts. */
export function setOf(values: readonly Value[]): ValueSet {
  const items = alike(values);
  const seen = new Map<string, Value>();
  for (const item of items) seen.set(JSON.stringify(plain(item)), item);
  const order = (a: Value, b: Value) => {
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    const [x, y] = [textOf(a) ?? JSON.stringify(plain(a)), textOf(b) ?? JSON.stringify(plain(b))];
    return x < y ? -1 : x > y ? 1 : 0;
  };
  return new ValueSet([...seen.values()].sort(order));
}

/** The values in one type, as the elements of a list are: simple ones of several types become texts. */
export function alike(values: readonly Value[]): readonly Value[] {
  const types = new Set(values.filter((value) => value !== null).map((value) => typeof value));
  if (types.size < 2) return values;
  return values.map((value) => textOf(value) ?? value);
}

/** A value as JSON has it. */
export function plain(value: Value): unknown {
  if (isMap(value)) return Object.fromEntries(sortedEntries(value).map(([key, item]) => [key, plain(item)]));
  return elementsOf(value)?.map(plain) ?? value;
}

/** A value of JSON as a value here. */
export function fromJson(json: unknown): Value {
  if (Array.isArray(json)) return json.map(fromJson);
  if (typeof json === 'object' && json !== null) {
    return new Map(Object.entries(json).map(([key, item]) => [key, fromJson(item)]));
  }
  return typeof json === 'string' || typeof json === 'number' || typeof json === 'boolean' ? json : null;
}
