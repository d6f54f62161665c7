/** Named texts in order. Every change makes a new version, and there may be hundreds of thousands of versions. Pure. */

interface Entry {
  readonly value: string;
  /** The position that orders the entries. */
  readonly place: number;
}

/** One version. It has the table, or knows its difference from a version that is nearer to the one with the table. */
interface Version {
  table?: Map<string, Entry>;
  /** The entry of `name` in this version, where `nearer` has another. */
  difference?: { readonly name: string; readonly entry: Entry | undefined; readonly nearer: Version };
}

/**
 * An immutable table of texts. A change returns another `Variables` and costs the same however many texts there are.
 * All versions of one origin share one table, which belongs to the version that was read last. Reading that version
 * again, or the newest, costs as much as reading a Map; reading another one costs as much as the two differ. Baker,
 * "Shallow binding makes functional arrays fast", 1991.
 */
export class Variables implements Iterable<readonly [name: string, value: string]> {
  readonly #version: Version;
  readonly size: number;
  /** The number of characters of all names and values. */
  readonly characters: number;
  /** The position of the next new entry. */
  readonly #end: number;

  private constructor(version: Version, size: number, characters: number, end: number) {
    this.#version = version;
    this.size = size;
    this.characters = characters;
    this.#end = end;
  }

  /** Makes a table of pairs. The last pair of a name gives its value, the first its position. */
  static of(pairs: Iterable<readonly [name: string, value: string]> = []): Variables {
    const table = new Map<string, Entry>();
    let end = 0;
    let characters = 0;
    for (const [name, value] of pairs) {
      const known = table.get(name);
      characters += known === undefined ? name.length + value.length : value.length - known.value.length;
      table.set(name, { value, place: known?.place ?? end++ });
    }
    return new Variables({ table }, table.size, characters, end);
  }

  get(name: string): string | undefined {
    return tableOf(this.#version).get(name)?.value;
  }

  has(name: string): boolean {
    return tableOf(this.#version).has(name);
  }

  /** Sets a text and moves it to the end. */
  set(name: string, value: string): Variables {
    const known = tableOf(this.#version).get(name);
    if (known?.value === value && known.place === this.#end - 1) return this;
    return this.#change(name, { value, place: this.#end }, this.#end + 1, known === undefined ? 1 : 0);
  }

  /** Sets a text; an existing one keeps its position. */
  put(name: string, value: string): Variables {
    const known = tableOf(this.#version).get(name);
    if (known === undefined) return this.set(name, value);
    if (known.value === value) return this;
    return this.#change(name, { value, place: known.place }, this.#end, 0);
  }

  /** Adds many names at once, each with an empty text. */
  putNames(names: readonly string[]): Variables {
    if (names.length > this.size) return Variables.of([...this, ...names.map((name) => [name, ''] as const)]);
    return names.reduce((all: Variables, name) => all.put(name, ''), this);
  }

  delete(name: string): Variables {
    return this.has(name) ? this.#change(name, undefined, this.#end, -1) : this;
  }

  *keys(): Generator<string> {
    for (const [name] of this) yield name;
  }

  [Symbol.iterator](): Iterator<readonly [name: string, value: string]> {
    const entries = [...tableOf(this.#version)];
    const ordered = entries.every(([, { place }], i) => i === 0 || (entries[i - 1]?.[1].place ?? 0) < place);
    if (!ordered) entries.sort(([, a], [, b]) => a.place - b.place);
    return entries.map(([name, { value }]) => [name, value] as const)[Symbol.iterator]();
  }

  #change(name: string, entry: Entry | undefined, end: number, more: number): Variables {
    const table = tableOf(this.#version);
    const version: Version = { table };
    const known = table.get(name);
    this.#version.table = undefined;
    this.#version.difference = { name, entry: known, nearer: version };
    write(table, name, entry);
    const less = known === undefined ? 0 : name.length + known.value.length;
    const grown = entry === undefined ? 0 : name.length + entry.value.length;
    return new Variables(version, this.size + more, this.characters - less + grown, end);
  }
}

/** Brings the shared table to a version and returns it. */
function tableOf(version: Version): Map<string, Entry> {
  if (version.table !== undefined) return version.table;
  const path: Version[] = [];
  for (let at = version; at.difference !== undefined; at = at.difference.nearer) path.push(at);
  const table = path.at(-1)?.difference?.nearer.table as Map<string, Entry>;
  for (const at of path.reverse()) {
    const { name, entry, nearer } = at.difference as NonNullable<Version['difference']>;
    nearer.difference = { name, entry: table.get(name), nearer: at };
    nearer.table = undefined;
    write(table, name, entry);
    at.difference = undefined;
    at.table = table;
  }
  return table;
}

/** Writes an entry. A later position goes to the end of the table, so it is mostly in order. */
function write(table: Map<string, Entry>, name: string, entry: Entry | undefined): void {
  if (entry === undefined || table.get(name)?.place !== entry.place) table.delete(name);
  if (entry !== undefined) table.set(name, entry);
}
