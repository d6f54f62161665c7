/** The parts of a template, and what it is filled in with. */

/** A value by Go's kinds: a `Map` is a map (what is not in it is no error), a `Struct` has its fields and no others. */
export type Value =
  | undefined
  | null
  | boolean
  | number
  | string
  | readonly Value[]
  | Map<string, Value>
  | Struct;

/** A value with named fields. */
export class Struct {
  readonly fields: Readonly<Record<string, Value>>;
  /** The value as JSON, whose names may be others than those of the fields. */
  readonly json: unknown;

  constructor(fields: Readonly<Record<string, Value>>, json?: unknown) {
    this.fields = fields;
    this.json =
      json ?? Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, jsonOf(value)]));
  }
}

/** A map of strings: `index` finds '' where it has nothing. */
export class StringMap extends Map<string, string> {}

/** A value as it is written as JSON. */
export function jsonOf(value: Value): unknown {
  if (value instanceof Struct) return value.json;
  if (value instanceof Map) {
    // In Go's order.
    const names = [...value.keys()].sort();
    return Object.fromEntries(names.map((name) => [name, jsonOf(value.get(name))]));
  }
  return Array.isArray(value) ? value.map(jsonOf) : (value ?? null);
}

/** A document that was read as JSON, its objects as maps. */
export function mapsOf(json: unknown): Value {
  if (Array.isArray(json)) return json.map(mapsOf);
  if (typeof json !== 'object' || json === null) return json as Value;
  return new Map(Object.entries(json).map(([name, each]) => [name, mapsOf(each)]));
}

/** A word of a template, and where it stands (the offset in the text). */
export type Operand = { at: number } & (
  | { kind: 'dot' }
  | { kind: 'literal'; value: Value }
  | { kind: 'variable'; name: string }
  | { kind: 'call'; name: string }
  | { kind: 'group'; pipeline: Pipeline }
  /** `.A.B` of the dot, `$x.A`, `(…).A` */
  | { kind: 'field'; of: Operand; names: readonly string[] }
);

/** Commands of which each gets the result of the one before it as its last argument. */
export type Pipeline = readonly (readonly Operand[])[];

/** A piece of a template. */
export type Node =
  | { kind: 'text'; text: string }
  /** An assignment prints nothing. */
  | { kind: 'print'; pipeline: Pipeline; assign?: { name: string; declares: boolean } }
  | {
      kind: 'if' | 'with';
      pipeline: Pipeline;
      variable?: string;
      body: readonly Node[];
      otherwise: readonly Node[];
    }
  | {
      kind: 'range';
      pipeline: Pipeline;
      variables: readonly string[];
      body: readonly Node[];
      otherwise: readonly Node[];
    }
  | { kind: 'break' | 'continue' };
