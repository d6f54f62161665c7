import type { TomlTable, TomlValue } from 'smol-toml';
import { fail } from '../errors/index.ts';
import { durationMs } from '../words/index.ts';
import { isTable, shownKey } from './buildkitd-keys.ts';

/**
 * Looks up values of a TOML file by their paths, and checks their types. Throws `invalid` for one of the wrong type.
 */
export class TomlReader {
  readonly #table: TomlTable;
  /** The file's name, for messages. */
  readonly #file: string;
  readonly #at: readonly string[];

  constructor(table: TomlTable, file: string, at: readonly string[] = []) {
    this.#table = table;
    this.#file = file;
    this.#at = at;
  }

  #get(path: readonly string[]): TomlValue | undefined {
    let value: TomlValue | undefined = this.#table;
    for (const [at, name] of path.entries()) {
      if (value === undefined) return undefined;
      if (!isTable(value)) throw this.#wrong(path.slice(0, at), 'a table');
      value = Object.hasOwn(value, name) ? value[name] : undefined;
    }
    return value;
  }

  #wrong(path: readonly string[], wanted: string) {
    return fail('invalid', 'client', `${this.name(...path)} must be ${wanted}`);
  }

  /** The file and a key in it, for messages. */
  name(...path: string[]): string {
    return `${this.#file}: ${shownKey([...this.#at, ...path])}`;
  }

  has(...path: string[]): boolean {
    return this.#get(path) !== undefined;
  }

  /** The keys of a table. */
  names(...path: string[]): string[] {
    const value = this.#get(path) ?? {};
    if (isTable(value)) return Object.keys(value);
    throw this.#wrong(path, 'a table');
  }

  /** A list of tables; empty when it is missing. */
  tables(...path: string[]): TomlReader[] {
    const value = this.#get(path);
    if (value === undefined) return [];
    if (!Array.isArray(value) || !value.every((each): each is TomlTable => isTable(each))) {
      throw this.#wrong(path, 'a list of tables');
    }
    return value.map((table) => new TomlReader(table, this.#file, [...this.#at, ...path]));
  }

  text(...path: string[]): string | undefined {
    const value = this.#get(path);
    if (value === undefined || typeof value === 'string') return value;
    throw this.#wrong(path, 'text');
  }

  /** A text that must be there. */
  required(...path: string[]): string {
    const value = this.text(...path);
    if (value === undefined || value === '') throw this.#wrong(path, 'text');
    return value;
  }

  bool(...path: string[]): boolean | undefined {
    const value = this.#get(path);
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.#wrong(path, 'true or false');
  }

  number(...path: string[]): number | undefined {
    const value = this.#get(path);
    if (value === undefined || (typeof value === 'number' && Number.isInteger(value))) return value;
    throw this.#wrong(path, 'a whole number');
  }

  /** A number from 0 on. */
  count(...path: string[]): number | undefined {
    const value = this.number(...path);
    if (value === undefined || value >= 0) return value;
    throw this.#wrong(path, 'a number from 0 on');
  }

  /** One of several texts. */
  oneOf<T extends string>(known: readonly T[], ...path: string[]): T | undefined {
    const value = this.text(...path);
    const found = known.find((each) => each === value);
    if (value === undefined || value === '' || found !== undefined) return found;
    throw this.#wrong(path, known.join(' or '));
  }

  textOrNumber(...path: string[]): string | number | undefined {
    const value = this.#get(path);
    if (value === undefined || typeof value === 'string' || typeof value === 'number') return value;
    throw this.#wrong(path, 'text or a number');
  }

  list(...path: string[]): string[] | undefined {
    const value = this.#get(path);
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((each): each is string => typeof each === 'string')) return value;
    throw this.#wrong(path, 'a list of texts');
  }

  /** A number of seconds, or a duration in Go's form, in ms. */
  duration(...path: string[]): number | undefined {
    const value = this.#get(path);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && value >= 0) return value * 1000;
    const text = typeof value === 'string' ? value : '';
    const ms = /^\d+$/.test(text) ? Number(text) * 1000 : durationMs(text);
    if (ms === undefined || ms < 0) throw this.#wrong(path, 'a duration such as 48h or a number of seconds');
    return ms;
  }
}
