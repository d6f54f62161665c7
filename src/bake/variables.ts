/** The variables of bake files: their defaults, what takes their place from outside, their types and checks. */
import { fail } from '../errors/index.ts';
import {
  type Attribute,
  type Block,
  boolOf,
  convert,
  evaluate,
  fromJson,
  hclError,
  plain,
  type Scope,
  setOf,
  type Type,
  textOf,
  typeName,
  typeOf,
  typeText,
  type Value,
} from '../hcl/index.ts';
import { csvFields, parseBool } from '../words/index.ts';
import type { VariableInfo } from './types.ts';

interface VariablesParts {
  builtins: ReadonlyMap<string, string>;
  lookup(name: string): string | undefined;
  /** The `variable` blocks; of several of a name, the last one counts. */
  blocks: readonly Block[];
  /** What stands at the top of files as `NAME = value`. */
  attributes: readonly Attribute[];
  scope: Scope;
}

/** The variables of all files. */
export class Variables {
  readonly #parts: VariablesParts;
  readonly #blocks: ReadonlyMap<string, Block>;
  readonly #attributes: ReadonlyMap<string, Attribute>;
  readonly #values = new Map<string, Value>();
  readonly #working = new Set<string>();

  constructor(parts: VariablesParts) {
    this.#parts = parts;
    this.#blocks = new Map(parts.blocks.map((block) => [block.labels[0] as string, block]));
    this.#attributes = new Map(parts.attributes.map((attribute) => [attribute.name, attribute]));
  }

  /** The value of a variable; undefined when there is none. Throws `invalid`, for a cycle too. */
  value(name: string): Value | undefined {
    const known = this.#parts.builtins.get(name) ?? this.#values.get(name);
    if (known !== undefined) return known;
    const attribute = this.#attributes.get(name);
    const block = this.#blocks.get(name);
    if (attribute === undefined && block === undefined) return undefined;
    if (this.#working.has(name)) throw fail('invalid', 'client', `variable cycle not allowed for ${name}`);
    this.#working.add(name);
    try {
      const value =
        attribute !== undefined && block === undefined
          ? evaluate(attribute.expression, this.#parts.scope)
          : this.#ofBlock(name, block as Block, attribute);
      this.#values.set(name, value);
      return value;
    } finally {
      this.#working.delete(name);
    }
  }

  /** All variables with their values. Throws `invalid` where a check of theirs does not hold. */
  all(): VariableInfo[] {
    const infos = [...this.#blocks].map(([name, block]) => {
      const value = this.value(name) as Value;
      const description = this.#attributeOf(block, 'description');
      const type = typeOfBlock(block);
      return {
        name,
        description:
          description === undefined ? undefined : textOf(evaluate(description.expression, this.#parts.scope)),
        type: type === undefined ? undefined : typeText(type),
        value: value === null ? undefined : (textOf(value) ?? JSON.stringify(plain(value))),
      };
    });
    for (const block of this.#blocks.values()) this.#validate(block);
    return infos.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Calculates what stands at the top of files: errors there are told, also where nothing uses the value. */
  globals(): void {
    for (const name of this.#attributes.keys()) this.value(name);
  }

  #attributeOf(block: Block, name: string): Attribute | undefined {
    return block.body.attributes.find((each) => each.name === name);
  }

  #ofBlock(name: string, block: Block, global: Attribute | undefined): Value {
    for (const attribute of block.body.attributes) {
      if (['type', 'default', 'description'].includes(attribute.name)) continue;
      throw hclError(
        attribute.place,
        'Unsupported argument',
        `An argument named "${attribute.name}" is not expected here.`,
        'Arguments: type, default, description; and validation blocks.',
      );
    }
    const type = typeOfBlock(block);
    const given = global ?? this.#attributeOf(block, 'default');
    let value: Value | undefined;
    if (given !== undefined) {
      value = evaluate(given.expression, this.#parts.scope);
      if (type !== undefined) value = converted(value, type, given, name);
    }
    const outside = this.#outside(name, type !== undefined);
    if (outside !== undefined) return fromOutside(name, outside, type, value);
    return value ?? (type === undefined ? (given === undefined ? '' : null) : null);
  }

  #outside(name: string, jsonFirst: boolean): { text: string; isJson: boolean } | undefined {
    const jsonName = `${name}_JSON`;
    const plainText = this.#parts.lookup(name);
    const isOwn = this.#blocks.has(jsonName) || this.#parts.builtins.has(jsonName);
    const json = isOwn || (plainText !== undefined && !jsonFirst) ? undefined : this.#parts.lookup(jsonName);
    if (json !== undefined) return { text: json, isJson: true };
    return plainText === undefined ? undefined : { text: plainText, isJson: false };
  }

  #validate({ body }: Block): void {
    for (const block of body.blocks) {
      if (block.type !== 'validation')
        throw hclError(
          block.place,
          'Unsupported block type',
          `Blocks of type "${block.type}" are not expected here.`,
        );
      const [condition, message] = [
        this.#attributeOf(block, 'condition'),
        this.#attributeOf(block, 'error_message'),
      ];
      if (condition === undefined || message === undefined) {
        throw hclError(
          block.place,
          'Missing required argument',
          'A validation has a condition and an error_message.',
        );
      }
      const result = boolOf(evaluate(condition.expression, this.#parts.scope));
      if (result === undefined)
        throw hclError(
          condition.expression.place,
          'Invalid condition result',
          'Condition expression must return either true or false.',
        );
      if (result) continue;
      const text = textOf(evaluate(message.expression, this.#parts.scope));
      throw hclError(
        condition.expression.place,
        'Validation failed',
        text ?? 'This check failed, but has an invalid error message.',
      );
    }
  }
}

function typeOfBlock({ body }: Block): Type | undefined {
  const given = body.attributes.find(({ name }) => name === 'type');
  if (given === undefined || (given.expression.kind === 'literal' && given.expression.value === null))
    return undefined;
  // In the JSON form a type is a text.
  const { expression } = given;
  const [part] = expression.kind === 'template' ? expression.parts : [];
  if (part?.kind === 'text' && expression.place.file.filename.endsWith('.json')) {
    return typeOf({ kind: 'variable', name: part.text, place: expression.place });
  }
  return typeOf(expression);
}

function converted(value: Value, type: Type, given: Attribute, name: string): Value {
  try {
    return convert(value, type);
  } catch (err) {
    throw hclError(
      given.expression.place,
      'Invalid value',
      `invalid type ${typeText(type)} for variable ${name} default value: ${err instanceof Error ? err.message : err}.`,
    );
  }
}

/** A value from outside, in the variable's type: that which the file gives it, or that of its default. */
function fromOutside(
  name: string,
  { text, isJson }: { text: string; isJson: boolean },
  type: Type | undefined,
  value: Value | undefined,
): Value {
  const wrong = (why: string) =>
    fail(
      'invalid',
      'client',
      `the value ${JSON.stringify(text.slice(0, 200))} of variable ${name} is unsuitable: ${why}`,
    );
  const checked = (found: Value) => {
    try {
      return convert(found, type ?? { kind: 'any' });
    } catch (err) {
      throw wrong(err instanceof Error ? err.message : String(err));
    }
  };
  if (type === undefined) {
    if (value === undefined || value === null || typeof value === 'string') return text;
    if (typeof value === 'object')
      throw fail('invalid', 'client', `unsupported type ${typeName(value)} for variable ${name}`, {
        hint: 'Give the variable a type in the file.',
      });
    return simple(text, typeof value === 'boolean' ? 'bool' : 'number', wrong);
  }
  if (isJson) {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (err) {
      throw wrong(`it is no JSON: ${err instanceof Error ? err.message : err}`);
    }
    return checked(fromJson(json));
  }
  const each = (fields: readonly string[], of: readonly Type[]) =>
    fields.map((field, i) => simple(field, (of[i] as Type).kind, wrong));
  const fields = () => (text === '' ? [] : csvFields(text, (why) => wrong(why)));
  switch (type.kind) {
    case 'list':
    case 'set': {
      const found = fields();
      const items = each(
        found,
        found.map(() => type.of),
      );
      return type.kind === 'set' ? setOf(items) : items;
    }
    case 'tuple': {
      const found = fields();
      if (found.length !== type.items.length)
        throw wrong(`${type.items.length} elements are needed, not ${found.length}`);
      return each(found, type.items);
    }
    case 'map':
      return new Map(
        fields().map((field) => {
          const at = field.indexOf(':');
          if (at < 0) throw wrong(`${JSON.stringify(field)} is not key:value`);
          return [field.slice(0, at), simple(field.slice(at + 1), type.of.kind, wrong)] as const;
        }),
      );
    case 'object':
      throw wrong(`an object is given as JSON, in ${name}_JSON`);
    default:
      return simple(text, type.kind, wrong);
  }
}

function simple(text: string, kind: Type['kind'], wrong: (why: string) => Error): Value {
  if (kind === 'string' || kind === 'any') return text;
  if (kind === 'bool') {
    const found = parseBool(text);
    if (found === undefined) throw wrong(`${JSON.stringify(text)} is not true or false`);
    return found;
  }
  if (kind === 'number') {
    const found = text.trim() === '' ? Number.NaN : Number(text);
    if (!Number.isFinite(found)) throw wrong(`${JSON.stringify(text)} is no number`);
    return found;
  }
  throw wrong(`a ${kind} in it is given as JSON`);
}
