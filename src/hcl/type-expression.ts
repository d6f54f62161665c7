/** Types as files write them (`list(string)`), and values made to be of a type. */
import { hclError } from './error.ts';
import { type Expression, type Value, ValueSet } from './types.ts';
import { boolOf, elementsOf, isList, isMap, numberOf, setOf, textOf, typeName } from './values.ts';

/** A type that values are checked against. */
export type Type =
  | { kind: 'any' | 'string' | 'number' | 'bool' }
  | { kind: 'list' | 'set' | 'map'; of: Type }
  | { kind: 'tuple'; items: readonly Type[] }
  | { kind: 'object'; attributes: ReadonlyMap<string, Type>; optional: ReadonlySet<string> };

/** Reads a type. Throws `invalid`, with the place. */
export function typeOf(expression: Expression): Type {
  const { place } = expression;
  if (expression.kind === 'variable') {
    const { name } = expression;
    if (name === 'any' || name === 'string' || name === 'number' || name === 'bool') return { kind: name };
    throw hclError(
      place,
      'Invalid type specification',
      `The keyword "${name}" is not a valid type specification.`,
    );
  }
  if (expression.kind !== 'call') {
    throw hclError(
      place,
      'Invalid type specification',
      'A type specification is either a primitive type keyword (bool, number, string) or a complex type constructor call, like list(string).',
    );
  }
  const { name, args } = expression;
  const [arg, ...more] = args;
  if (!['list', 'set', 'map', 'tuple', 'object'].includes(name)) {
    throw hclError(place, 'Invalid type specification', `Keyword "${name}" is not a valid type constructor.`);
  }
  if (arg === undefined || more.length > 0) {
    throw hclError(
      place,
      'Invalid type specification',
      `The ${name} type constructor requires one argument.`,
    );
  }
  if (name === 'list' || name === 'set' || name === 'map') return { kind: name, of: typeOf(arg) };
  if (name === 'tuple') {
    if (arg.kind !== 'tuple')
      throw hclError(
        arg.place,
        'Invalid type specification',
        'Tuple type constructor requires a list of element types.',
      );
    return { kind: 'tuple', items: arg.items.map(typeOf) };
  }
  if (arg.kind !== 'object') {
    throw hclError(
      arg.place,
      'Invalid type specification',
      'Object type constructor requires a map whose keys are attribute names and whose values are the corresponding attribute types.',
    );
  }
  const attributes = new Map<string, Type>();
  const optional = new Set<string>();
  for (const { key, value } of arg.items) {
    if (key.kind !== 'literal' || typeof key.value !== 'string') {
      throw hclError(
        key.place,
        'Invalid type specification',
        'Object constructor map keys must be attribute names.',
      );
    }
    const isOptional = value.kind === 'call' && value.name === 'optional' && value.args.length > 0;
    if (isOptional) optional.add(key.value);
    attributes.set(key.value, typeOf(isOptional ? (value.args[0] as Expression) : value));
  }
  return { kind: 'object', attributes, optional };
}

/** A type as files write it. */
export function typeText(type: Type): string {
  switch (type.kind) {
    case 'list':
    case 'set':
    case 'map':
      return `${type.kind} of ${typeText(type.of)}`;
    default:
      return type.kind;
  }
}

/** The value as one of the type. Throws an Error that says what is in the way. */
export function convert(value: Value, type: Type): Value {
  if (value === null || type.kind === 'any') return value;
  const wrong = () => new Error(`${typeText(type)} required`);
  switch (type.kind) {
    case 'string':
      return textOf(value) ?? raise(wrong());
    case 'number':
      return numberOf(value) ?? raise(new Error('a number is required'));
    case 'bool':
      return boolOf(value) ?? raise(new Error('a bool is required'));
    case 'list':
    case 'set': {
      const items = isMap(value) ? undefined : elementsOf(value);
      if (items === undefined) throw wrong();
      const made = items.map((item) => convert(item, type.of));
      return type.kind === 'set' ? setOf(made) : made;
    }
    case 'map':
      if (!isMap(value)) throw wrong();
      return new Map([...value].map(([key, item]) => [key, convert(item, type.of)]));
    case 'tuple': {
      const items = value instanceof ValueSet ? undefined : isList(value) ? value : undefined;
      if (items === undefined) throw wrong();
      if (items.length !== type.items.length)
        throw new Error(`tuple of ${type.items.length} elements required, not ${items.length}`);
      return items.map((item, i) => convert(item, type.items[i] as Type));
    }
    case 'object': {
      if (!isMap(value)) throw new Error(`object required, not ${typeName(value)}`);
      const made = new Map<string, Value>();
      for (const [name, each] of type.attributes) {
        const item = value.get(name);
        if (item === undefined && !type.optional.has(name))
          throw new Error(`attribute "${name}" is required`);
        made.set(name, item === undefined ? null : convert(item, each));
      }
      return made;
    }
  }
}

function raise(error: Error): never {
  throw error;
}
