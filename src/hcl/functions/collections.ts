/** Functions of lists, sets and objects. */
import { type HclFunction, type Value, ValueSet } from '../types.ts';
import { alike, elementsOf, equals, isMap, numberOf, setOf, sortedEntries, textOf } from '../values.ts';
import { type Arguments, fn } from './arguments.ts';

const maxItems = 100_000;

function length(value: Value): number {
  const items = elementsOf(value);
  if (items === undefined) throw new Error('collection must be a list, a map or a tuple');
  return items.length;
}

function element(list: readonly Value[], index: number): Value {
  if (list.length === 0) throw new Error('cannot use element function with an empty list');
  return list[((index % list.length) + list.length) % list.length] as Value;
}

function chunks(list: readonly Value[], size: number): Value {
  if (size < 0) throw new Error('the size argument must be positive');
  if (size === 0) return [list];
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) =>
    list.slice(i * size, (i + 1) * size),
  );
}

function distinct(list: readonly Value[]): Value {
  const kept: Value[] = [];
  for (const item of list) if (!kept.some((each) => equals(each, item))) kept.push(item);
  return kept;
}

function flatten(list: readonly Value[]): Value[] {
  return list.flatMap((item) => {
    const inner = isMap(item) ? undefined : elementsOf(item);
    return inner === undefined ? [item] : flatten(inner);
  });
}

function at(collection: Value, key: Value): Value | undefined {
  if (isMap(collection)) return collection.get(textOf(key) ?? '');
  return elementsOf(collection)?.[numberOf(key) ?? -1];
}

function indexOf(list: readonly Value[], wanted: Value): number {
  const found = list.findIndex((item) => equals(item, wanted));
  if (found < 0) throw new Error('item not found');
  return found;
}

function range(a: Arguments): Value {
  const [start, end] = a.all.length === 1 ? [0, a.number(0)] : [a.number(0), a.number(1)];
  const step = a.all.length > 2 ? a.number(2) : end < start ? -1 : 1;
  if (step === 0) throw new Error('step must not be zero');
  if ((step > 0 && end < start) || (step < 0 && end > start))
    throw new Error('the step leads away from the end');
  const out: number[] = [];
  for (let i = start; step > 0 ? i < end : i > end; i += step) {
    if (out.length >= 1024)
      throw new Error(
        'more than 1024 values were generated; either decrease the difference between start and end or use a larger step',
      );
    out.push(i);
  }
  return out;
}

function product(lists: readonly (readonly Value[])[]): Value[] {
  let rows: Value[][] = [[]];
  for (const list of lists) {
    if (rows.length * list.length > maxItems) throw new Error(`it would have more than ${maxItems} items`);
    rows = rows.flatMap((row) => list.map((item) => [...row, item]));
  }
  return rows;
}

function merged(maps: readonly Value[]): Value {
  const all = new Map<string, Value>();
  for (const map of maps) {
    if (map === null) continue;
    if (!isMap(map)) throw new Error('arguments must be maps or objects');
    for (const [key, value] of map) all.set(key, value);
  }
  return all;
}

function lookup(a: Arguments): Value {
  const found = a.map(0).get(a.text(1));
  if (found !== undefined) return found;
  if (a.all.length > 2) return a.at(2);
  throw new Error(`lookup failed to find ${JSON.stringify(a.text(1))}`);
}

function has(items: readonly Value[], wanted: Value): boolean {
  return items.some((item) => equals(item, wanted));
}

/** All arguments as lists of items in one type, from which sets are made. */
function sets(a: Arguments): readonly (readonly Value[])[] {
  const lists = a.all.map((_, i) => a.list(i));
  const all = alike(lists.flat());
  let from = 0;
  return lists.map(({ length: count }) => {
    from += count;
    return all.slice(from - count, from);
  });
}

export const collectionFunctions: Record<string, HclFunction> = {
  chunklist: fn('list, size', (a) => chunks(a.list(0), a.whole(1))),
  coalesce: fn('vals…', (a) => {
    const found = a.all.find((value) => value !== null);
    if (found === undefined) throw new Error('no non-null arguments');
    return found;
  }),
  coalescelist: fn('vals…', (a) => {
    const found = a.all.find((value) => value !== null && length(value) > 0);
    if (found === undefined) throw new Error('no non-null arguments');
    return found;
  }),
  compact: fn('list', (a) =>
    a
      .list(0)
      .filter((item) => item !== null && item !== '')
      .map((item) => textOf(item) ?? item),
  ),
  concat: fn('seqs…', (a) => a.all.flatMap((_, i) => a.list(i))),
  contains: fn('list, value', (a) => has(a.list(0), a.at(1))),
  distinct: fn('list', (a) => distinct(alike(a.list(0)))),
  element: fn('list, index', (a) => element(a.list(0), a.whole(1))),
  flatten: fn('list', (a) => flatten(a.list(0))),
  hasindex: fn('collection, key', (a) => at(a.at(0), a.at(1)) !== undefined),
  index: fn('collection, key', (a) => {
    const found = at(a.at(0), a.at(1));
    if (found === undefined) throw new Error('invalid index');
    return found;
  }),
  indexof: fn('list, value', (a) => indexOf(a.list(0), a.at(1))),
  keys: fn('inputMap', (a) => sortedEntries(a.map(0)).map(([key]) => key)),
  length: fn('collection', (a) => length(a.at(0))),
  lookup: fn('inputMap, key, default…', lookup),
  merge: fn('maps…', (a) => merged(a.all)),
  range: fn('params…', (a) => range(a)),
  reverselist: fn('list', (a) => [...a.list(0)].reverse()),
  sethaselement: fn('set, elem', (a) => has(a.list(0), a.at(1))),
  setintersection: fn('first_set, other_sets…', (a) => {
    const [first = [], ...others] = sets(a);
    return setOf(first.filter((item) => others.every((other) => has(other, item))));
  }),
  setproduct: fn('sets…', (a) => {
    const rows = product(a.all.map((_, i) => a.list(i)));
    return a.all.length > 0 && a.all.every((each) => each instanceof ValueSet) ? setOf(rows) : rows;
  }),
  setsubtract: fn('a, b', (a) => {
    const [first = [], second = []] = sets(a);
    return setOf(first.filter((item) => !has(second, item)));
  }),
  setsymmetricdifference: fn('first_set, other_sets…', (a) => {
    const [first = [], ...others] = sets(a);
    return others.reduce<ValueSet>(
      (so, other) =>
        setOf([
          ...so.items.filter((item) => !has(other, item)),
          ...other.filter((item) => !has(so.items, item)),
        ]),
      setOf(first),
    );
  }),
  setunion: fn('first_set, other_sets…', (a) => setOf(sets(a).flat())),
  slice: fn('list, start_index, end_index', (a) => {
    const list = a.list(0);
    const [from, to] = [a.whole(1), a.whole(2)];
    if (from < 0 || to > list.length || from > to) throw new Error('the indices do not fit the list');
    return list.slice(from, to);
  }),
  sort: fn('list', (a) => [...a.texts(0)].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)))),
  values: fn('mapping', (a) => sortedEntries(a.map(0)).map(([, value]) => value)),
  zipmap: fn('keys, values', (a) => {
    const [keys, values] = [a.texts(0), a.list(1)];
    if (keys.length !== values.length)
      throw new Error(`number of keys (${keys.length}) does not match number of values (${values.length})`);
    return new Map(keys.map((key, i) => [key, values[i] as Value]));
  }),
};
