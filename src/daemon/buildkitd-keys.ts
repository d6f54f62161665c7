/** The keys of a buildkitd.toml, and which of them have a meaning here. */
import { TomlDate, type TomlTable, type TomlValue } from 'smol-toml';
import { nearest } from '../errors/index.ts';

/**
 * A key's meaning: `used` is acted upon; `idle` is known to buildkitd and has no effect here; `unless` has no effect
 * for other values than those. A table holds its keys, and `*` stands for any name; a list of tables has its keys in
 * `[]`.
 */
type Key = 'used' | 'idle' | Unless | Keys;
interface Unless {
  unless: readonly (string | number | boolean)[];
  why?: string;
}
export interface Keys {
  [name: string]: Key;
}

/** Reports keys that are unknown, and keys without effect. */
export function checkKeys(
  table: TomlTable,
  keys: Keys,
  warn: (message: string) => void,
  path: readonly string[] = [],
): void {
  for (const [name, value] of Object.entries(table)) {
    const key = [...path, name];
    const kind = Object.hasOwn(keys, name) ? keys[name] : keys['*'];
    if (kind === undefined) {
      const near = nearest(name, Object.keys(keys));
      const meant = near === undefined ? '' : `: did you mean ${shownKey([...path, near])}?`;
      warn(`unknown key ${shownKey(key)}${meant}`);
    } else if (kind === 'idle') warn(`${shownKey(key)} has no effect here`);
    else if (kind === 'used') continue;
    else if (isUnless(kind)) {
      if (kind.unless.includes(value as string)) continue;
      const why = kind.why === undefined ? '' : `: ${kind.why}`;
      warn(`${shownKey(key)} = ${JSON.stringify(value)} has no effect here${why}`);
    } else if (isTable(value)) checkKeys(value, kind, warn, key);
    else if (Array.isArray(value) && kind['[]'] !== undefined) {
      for (const each of value) if (isTable(each)) checkKeys(each, kind['[]'] as Keys, warn, key);
    }
  }
}

function isUnless(kind: Unless | Keys): kind is Unless {
  return Array.isArray(kind.unless);
}

/** A key in the file's form: `registry."docker.io".http`. */
export function shownKey(path: readonly string[]): string {
  return path.map((part) => (/^[\w-]+$/.test(part) ? part : JSON.stringify(part))).join('.');
}

/** Whether a value of a TOML file is a table. */
export function isTable(value: TomlValue | undefined): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof TomlDate);
}
