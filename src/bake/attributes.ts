/** The attributes of a target: how each is read, and how those of two definitions become one. */
import {
  type Attribute,
  boolOf,
  elementsOf,
  hclError,
  isMap,
  sortedEntries,
  textOf,
  typeName,
  type Value,
} from '../hcl/index.ts';
import { type EntryKind, normalEntry, parseEntry, parseSsh } from './entries.ts';
import type { Entry, SshEntry, Target, TextMap } from './types.ts';

interface AttributeKind<T> {
  /** Reads a value. Throws an Error that says what is in the way. */
  read(value: Value): T;
  /** What is left of the older and the newer value. */
  merge(older: T, newer: T): T;
}

const replace = <T>(_older: T, newer: T) => newer;

const text: AttributeKind<string> = { read: readText, merge: replace };
const bool: AttributeKind<boolean> = {
  read(value) {
    const found = boolOf(value);
    if (found === undefined) throw new Error(`bool required, not ${typeName(value)}`);
    return found;
  },
  merge: replace,
};
const texts: AttributeKind<readonly string[]> = { read: readTexts, merge: replace };
const moreTexts: AttributeKind<readonly string[]> = {
  read: readTexts,
  merge: (older, newer) => [...older, ...newer],
};
const textMap: AttributeKind<TextMap> = { read: readTextMap, merge: mergeMaps };
const fullMap: AttributeKind<Record<string, string>> = {
  read: (value) =>
    Object.fromEntries(Object.entries(readTextMap(value)).map(([key, item]) => [key, item ?? ''])),
  merge: (older, newer) => ({ ...older, ...newer }),
};
const entries = (
  kind: EntryKind,
  merge: AttributeKind<readonly Entry[]>['merge'],
): AttributeKind<readonly Entry[]> => ({
  read: (value) => readEntries(kind, value),
  merge,
});
const ssh: AttributeKind<readonly SshEntry[]> = { read: readSsh, merge: byKey(({ id }) => id) };

const kinds = {
  description: text,
  inherits: moreTexts,
  annotations: moreTexts,
  attest: entries(
    'attest',
    byKey(({ type }) => String(type)),
  ),
  context: text,
  contexts: fullMap,
  dockerfile: text,
  'dockerfile-inline': text,
  args: textMap,
  labels: textMap,
  tags: texts,
  'cache-from': entries('cache-from', (older, newer) => distinct([...older, ...newer])),
  'cache-to': entries('cache-to', replace),
  target: text,
  secret: entries(
    'secret',
    byKey(({ id }) => String(id)),
  ),
  ssh,
  platforms: texts,
  output: entries('output', replace),
  pull: bool,
  'no-cache': bool,
  network: text,
  'no-cache-filter': moreTexts,
  'shm-size': text,
  ulimits: moreTexts,
  resources: textMap,
  call: text,
  entitlements: moreTexts,
  'extra-hosts': textMap,
  policy: entries('policy', (older, newer) => [...older, ...newer]),
} satisfies Record<keyof Target, object>;

/** The names of a target's attributes, in the order in which they are printed. */
export const attributeNames = Object.keys(kinds) as (keyof Target)[];

/** Whether a target has an attribute of this name. */
export function isAttribute(name: string): name is keyof Target {
  return Object.hasOwn(kinds, name);
}

/** Reads a value as an attribute. Throws `invalid`, with the place in the file. Null is no value: undefined. */
export function readAttribute<Name extends keyof Target>(
  name: Name,
  value: Value,
  { expression }: Attribute,
): Target[Name] {
  if (value === null) return undefined;
  try {
    return kindOf(name).read(value) as Target[Name];
  } catch (err) {
    throw hclError(
      expression.place,
      'Unsuitable value type',
      `Unsuitable value of "${name}": ${err instanceof Error ? err.message : err}.`,
    );
  }
}

/** The target that two definitions of it make; the newer one counts where only one can. */
export function mergeTargets(older: Target, newer: Target): Target {
  const merged: Record<string, unknown> = { ...older };
  for (const name of attributeNames) {
    if (newer[name] === undefined) continue;
    merged[name] =
      older[name] === undefined
        ? mergeIntoNothing(name, newer[name])
        : kindOf(name).merge(older[name], newer[name]);
  }
  return merged as Target;
}

/** Nulls in maps say only that nothing is changed. */
function mergeIntoNothing(name: keyof Target, value: unknown): unknown {
  return kindOf(name) === (textMap as AttributeKind<unknown>) ? mergeMaps({}, value as TextMap) : value;
}

/** The target without repetitions, as it is printed and built. */
export function normalized(target: Target): Target {
  const out: Record<string, unknown> = {};
  const asked =
    target.network === 'host' ? [...(target.entitlements ?? []), 'network.host'] : target.entitlements;
  for (const name of attributeNames) {
    const value = name === 'entitlements' ? asked : target[name];
    if (value === undefined) continue;
    if (Array.isArray(value)) {
      const kept =
        kindOf(name) === (moreTexts as AttributeKind<unknown>) ||
        kindOf(name) === (texts as AttributeKind<unknown>)
          ? [...new Set(value)].filter((item) => item !== '')
          : (kindOf(name).merge([], value) as unknown[]);
      out[name] = name === 'output' || name === 'cache-to' ? distinct(kept as Entry[]) : kept;
    } else if (name === 'contexts') {
      const kept = Object.entries(value).filter(([, item]) => item !== '');
      if (kept.length > 0) out[name] = Object.fromEntries(kept);
    } else out[name] = value;
  }
  return out as Target;
}

function kindOf(name: keyof Target): AttributeKind<unknown> {
  return kinds[name] as unknown as AttributeKind<unknown>;
}

function readText(value: Value): string {
  const found = textOf(value);
  if (found === undefined) throw new Error(`string required, not ${typeName(value)}`);
  return found;
}

function readTexts(value: Value): string[] {
  const items = isMap(value) ? undefined : elementsOf(value);
  if (items === undefined) throw new Error(`list of string required, not ${typeName(value)}`);
  return items.flatMap((item) => (item === null ? [] : [readText(item)]));
}

function readTextMap(value: Value): Record<string, string | null> {
  if (!isMap(value)) throw new Error(`map of string required, not ${typeName(value)}`);
  return Object.fromEntries(
    sortedEntries(value).map(([key, item]) => [key, item === null ? null : readText(item)]),
  );
}

function readEntries(kind: EntryKind, value: Value): Entry[] {
  const items = isMap(value) || typeof value === 'string' ? [value] : elementsOf(value);
  if (items === undefined) throw new Error(`list required, not ${typeName(value)}`);
  return items.flatMap((item) => {
    if (item === null || item === '') return [];
    if (!isMap(item)) return [parseEntry(kind, readText(item))];
    const fields = sortedEntries(item).flatMap(([key, field]) =>
      field === null ? [] : [[key, readText(field)] as const],
    );
    return [normalEntry(kind, Object.fromEntries(fields))];
  });
}

function readSsh(value: Value): SshEntry[] {
  const items = isMap(value) || typeof value === 'string' ? [value] : elementsOf(value);
  if (items === undefined) throw new Error(`list required, not ${typeName(value)}`);
  return items.flatMap((item) => {
    if (item === null || item === '') return [];
    if (!isMap(item)) return [parseSsh(readText(item))];
    const paths = item.get('paths') ?? null;
    const id = readText(item.get('id') ?? '');
    return [paths === null ? { id } : { id, paths: readTexts(paths) }];
  });
}

function mergeMaps(older: TextMap, newer: TextMap): TextMap {
  const kept = Object.entries(newer).filter(([, value]) => value !== null);
  return { ...older, ...Object.fromEntries(kept) };
}

function byKey<T>(keyOf: (item: T) => string): (older: readonly T[], newer: readonly T[]) => readonly T[] {
  return (older, newer) => {
    const all = new Map<string, T>();
    for (const item of [...older, ...newer]) all.set(keyOf(item), item);
    return [...all.values()];
  };
}

function distinct(list: readonly Entry[]): Entry[] {
  const seen = new Map<string, Entry>();
  for (const item of list) {
    const key = JSON.stringify(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
    if (!seen.has(key)) seen.set(key, item);
  }
  return [...seen.values()];
}
