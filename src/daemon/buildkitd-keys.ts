/** The keys of a buildkitd.toml, and which of them have a meaning here. */
import { TomlDate, type TomlTable, type TomlValue } from 'smol-toml';
import { nearest } from '../errors/index.ts';

/**
 * A key's meaning: `used` is acted upon; `idle` is known to buildkitd and has no effect here; `unless` has no effect
 * for other values than those; `only` refuses other values than those, for what their silent absence would let pass. A
 * table holds its keys, and `*` stands for any name; a list of tables has its keys in
 * `[]`.
 */
type Key = 'used' | 'idle' | Unless | Only | Keys;
interface Unless {
  unless: readonly (string | number | boolean)[];
  why?: string;
}
interface Only {
  only: readonly (string | number | boolean)[];
  why: string;
}
export interface Keys {
  [name: string]: Key;
}

/** Reports keys that are unknown, keys without effect, and values that must not be left out in silence. */
export function checkKeys(
  table: TomlTable,
  keys: Keys,
  tell: { warn(message: string): void; refuse(message: string): never },
  path: readonly string[] = [],
): void {
  for (const [name, value] of Object.entries(table)) {
    const key = [...path, name];
    const kind = Object.hasOwn(keys, name) ? keys[name] : keys['*'];
    if (kind === undefined) {
      const near = nearest(name, Object.keys(keys));
      const meant = near === undefined ? '' : `: did you mean ${shownKey([...path, near])}?`;
      tell.warn(`unknown key ${shownKey(key)}${meant}`);
    } else if (kind === 'idle') tell.warn(`${shownKey(key)} has no effect here`);
    else if (kind === 'used') continue;
    else if (isOnly(kind)) {
      if (kind.only.includes(value as string) || (isTable(value) && Object.keys(value).length === 0))
        continue;
      tell.refuse(`${shownKey(key)} = ${JSON.stringify(value)} is not obeyed: ${kind.why}`);
    } else if (isUnless(kind)) {
      if (kind.unless.includes(value as string)) continue;
      const why = kind.why === undefined ? '' : `: ${kind.why}`;
      tell.warn(`${shownKey(key)} = ${JSON.stringify(value)} has no effect here${why}`);
    } else if (isTable(value)) checkKeys(value, kind, tell, key);
    else if (Array.isArray(value) && kind['[]'] !== undefined) {
      for (const each of value) if (isTable(each)) checkKeys(each, kind['[]'] as Keys, tell, key);
    }
  }
}

function isOnly(kind: Unless | Only | Keys): kind is Only {
  return 'only' in kind && Array.isArray(kind.only);
}

function isUnless(kind: Unless | Keys): kind is Unless {
  return 'unless' in kind && Array.isArray(kind.unless);
}

/** A key in the file's form: `registry."docker.io".http`. */
export function shownKey(path: readonly string[]): string {
  return path.map((part) => (/^[\w-]+$/.test(part) ? part : JSON.stringify(part))).join('.');
}

/** Whether a value of a TOML file is a table. */
export function isTable(value: TomlValue | undefined): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof TomlDate);
}
