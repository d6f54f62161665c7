/**
 * The values and trees of HCL, HashiCorp's configuration language (github.com/hashicorp/hcl, spec.md and json/spec.md),
 * as far as bake files use it.
 */
import type { SourceLocation, SourceRange } from '../errors/index.ts';

/** A value. Tuples and lists are arrays; objects and maps are `Map`s, whose order of keys does not count. */
export type Value = null | boolean | number | string | readonly Value[] | ValueSet | ValueMap;

/** An object or a map. */
export type ValueMap = ReadonlyMap<string, Value>;

/** A set: each value once, in the order in which HCL goes through them. */
export class ValueSet {
  readonly items: readonly Value[];
  /** `items` must be without repetitions and in order; `setOf` makes them so. */
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** A place in a file that errors point to. */
export interface Place {
  file: SourceFile;
  range: SourceRange;
}

/** A file that was read. */
export type SourceFile = Pick<SourceLocation, 'filename' | 'text'>;

/** One piece of a template, as `"v${major}"` is one. */
export type TemplatePart =
  | { kind: 'text'; text: string }
  | { kind: 'value'; expression: Expression }
  | { kind: 'if'; condition: Expression; yes: readonly TemplatePart[]; no: readonly TemplatePart[] }
  | {
      kind: 'for';
      key?: string;
      value: string;
      collection: Expression;
      body: readonly TemplatePart[];
    };

/** An expression that is not evaluated yet. */
export type Expression = { place: Place } & (
  | { kind: 'literal'; value: Value }
  | { kind: 'template'; parts: readonly TemplatePart[] }
  | { kind: 'variable'; name: string }
  | { kind: 'attribute'; of: Expression; name: string }
  | { kind: 'index'; of: Expression; key: Expression }
  /** `of[*].name`, or `of.*.name`: `each` is evaluated with the element as the variable `splatItem`. */
  | { kind: 'splat'; of: Expression; each: Expression }
  | {
      kind: 'call';
      name: string;
      args: readonly Expression[] /** Whether the last has `...` behind it. */;
      spread: boolean;
    }
  | { kind: 'unary'; operator: '-' | '!'; operand: Expression }
  | { kind: 'binary'; operator: BinaryOperator; left: Expression; right: Expression }
  | { kind: 'conditional'; condition: Expression; yes: Expression; no: Expression }
  | { kind: 'tuple'; items: readonly Expression[] }
  | { kind: 'object'; items: readonly { key: Expression; value: Expression }[] }
  | {
      kind: 'for';
      key?: string;
      value: string;
      collection: Expression;
      /** The key of an object's item; without it a tuple is made. */
      resultKey?: Expression;
      result: Expression;
      /** Whether the values of equal keys become a tuple (`...`). */
      grouped: boolean;
      condition?: Expression;
    }
  | { kind: 'parentheses'; inner: Expression }
);

/** The operators between two operands. */
export type BinaryOperator =
  | '||'
  | '&&'
  | '=='
  | '!='
  | '<'
  | '<='
  | '>'
  | '>='
  | '+'
  | '-'
  | '*'
  | '/'
  | '%';

/** The name under which the `each` of a splat finds the element; no identifier is written so. */
export const splatItem = '*';

/** `name = expression` in a body. */
export interface Attribute {
  name: string;
  expression: Expression;
  place: Place;
}

/** `type "label" { … }` in a body. */
export interface Block {
  type: string;
  labels: readonly string[];
  body: Body;
  /** The place of its head. */
  place: Place;
}

/** What a file, or a block, has in it. */
export interface Body {
  attributes: readonly Attribute[];
  blocks: readonly Block[];
}

/** What an expression may refer to. */
export interface Scope {
  /** The value of a variable; undefined when there is none. */
  variable(name: string): Value | undefined;
  /** A function; undefined when there is none. */
  function(name: string): HclFunction | undefined;
}

/** A function that expressions may call. */
export interface HclFunction {
  /** The names of the parameters, for errors. */
  params: readonly string[];
  /** The parameter that takes all further arguments. */
  variadic?: string;
  /** Calculates the result. Errors that it throws are told with the place of the call. */
  call?(args: readonly Value[]): Value;
  /** In place of `call`: takes the arguments as they are written. */
  callWritten?(args: readonly Expression[], scope: Scope): Value;
}
