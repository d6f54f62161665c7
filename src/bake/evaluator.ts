/**
 * Finds the values in files of HCL. Everything is calculated when it is first asked for, so that variables, functions
 * and targets may refer to each other in any order.
 */
import { type DrydockError, fail } from '../errors/index.ts';
import {
  type Attribute,
  type Block,
  type Body,
  type Expression,
  elementsOf,
  evaluate,
  fromJson,
  functions,
  type HclFunction,
  hclError,
  innerScope,
  isMap,
  type Scope,
  sortedEntries,
  textOf,
  typeName,
  type Value,
} from '../hcl/index.ts';
import { attributeNames, isAttribute, mergeTargets, readAttribute } from './attributes.ts';
import type { Definitions, Group, Target } from './types.ts';
import { Variables } from './variables.ts';

/** What files are evaluated with. */
export interface Surroundings {
  /** Built-in variables, which nothing changes. */
  builtins: ReadonlyMap<string, string>;
  /** A value from outside for a variable: of `--var`, or the environment. */
  lookup(name: string): string | undefined;
}

const targetName = /^[a-zA-Z0-9_-]+$/;

/** One target that a block makes: several where it has a matrix. */
interface Variant {
  name: string;
  block: Block;
  scope: Scope;
}

/** Reads everything that the bodies of files define. Throws `invalid` (hop `client`), with the place in the file. */
export function evaluateFiles(bodies: readonly Body[], surroundings: Surroundings): Definitions {
  return new Evaluator(bodies, surroundings).all();
}

class Evaluator implements Scope {
  readonly #variables: Variables;
  readonly #blocks: readonly Block[];
  readonly #functionBlocks = new Map<string, Block>();
  readonly #functions = new Map<string, HclFunction>();
  readonly #variants = new Map<Block, readonly Variant[]>();
  readonly #values = new Map<string, Value>();
  readonly #working = new Set<string>();

  constructor(bodies: readonly Body[], surroundings: Surroundings) {
    this.#blocks = bodies.flatMap(({ blocks }) => blocks);
    const reserved = new Set(['group', 'target', ...surroundings.builtins.keys()]);
    for (const { type, labels, place } of this.#blocks) {
      if (!['group', 'target', 'variable', 'function'].includes(type)) {
        throw hclError(place, 'Unsupported block type', `Blocks of type "${type}" are not expected here.`);
      }
      if (labels.length !== 1) throw hclError(place, 'Invalid block', `A ${type} has one label, its name.`);
    }
    for (const block of this.#blocks) {
      if (block.type === 'function') this.#functionBlocks.set(block.labels[0] as string, block);
    }
    this.#variables = new Variables({
      ...surroundings,
      blocks: this.#blocks.filter(
        ({ type, labels }) => type === 'variable' && !reserved.has(labels[0] as string),
      ),
      attributes: bodies.flatMap(({ attributes }) => attributes).filter(({ name }) => !reserved.has(name)),
      scope: this,
    });
  }

  all(): Definitions {
    const variables = this.#variables.all();
    for (const name of this.#functionBlocks.keys()) this.function(name);
    const groups = new Map<string, Group>();
    const targets = new Map<string, Target>();
    const renamed = new Map<string, string[]>();
    for (const block of this.#blocks) {
      if (block.type === 'group') {
        const name = block.labels[0] as string;
        groups.set(name, this.#group(block));
      } else if (block.type === 'target') {
        for (const variant of this.#variantsOf(block)) {
          const target = this.#target(variant);
          const older = targets.get(variant.name);
          targets.set(variant.name, older === undefined ? target : mergeTargets(older, target));
          const label = block.labels[0] as string;
          const names = renamed.get(label) ?? [];
          if (!names.includes(variant.name)) names.push(variant.name);
          renamed.set(label, names);
        }
      }
    }
    // A target of several variants is a group of them.
    for (const [label, names] of renamed) {
      if (names.length !== 1 || names[0] !== label) groups.set(label, { targets: names });
    }
    this.#variables.globals();
    return { groups, targets, variables };
  }

  variable(name: string): Value | undefined {
    if (name === 'target' || name === 'group') return this.#blockValues(name);
    return this.#variables.value(name);
  }

  function(name: string): HclFunction | undefined {
    const known = functions.get(name) ?? this.#functions.get(name);
    if (known !== undefined) return known;
    const block = this.#functionBlocks.get(name);
    if (block === undefined) return undefined;
    const made = userFunction(block, this);
    this.#functions.set(name, made);
    return made;
  }

  /** `target.NAME.ATTRIBUTE`: calculated only as far as it is asked for. */
  #blockValues(type: 'target' | 'group'): Value {
    return new LazyMap((name) => {
      const blocks = this.#blocks.filter((block) => block.type === type);
      const all =
        type === 'target'
          ? blocks.flatMap((block) => this.#variantsOf(block))
          : blocks.map((block): Variant => ({ name: block.labels[0] as string, block, scope: this }));
      const variants = all.filter((variant) => variant.name === name);
      if (variants.length === 0) return undefined;
      return new LazyMap((attribute) => this.#reference(type, name, attribute, variants));
    });
  }

  #reference(type: string, name: string, attribute: string, variants: readonly Variant[]): Value | undefined {
    if (type === 'target' ? !isAttribute(attribute) : attribute !== 'targets' && attribute !== 'description')
      return undefined;
    const key = `${type}.${name}.${attribute}`;
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    if (this.#working.has(key)) throw fail('invalid', 'client', `reference cycle not allowed for ${key}`);
    this.#working.add(key);
    try {
      let value: Value = null;
      for (const { block, scope } of variants) {
        const found = block.body.attributes.find((each) => each.name === attribute);
        if (found === undefined) continue;
        const given = evaluate(found.expression, scope);
        value = type === 'target' ? fromJson(readAttribute(attribute as keyof Target, given, found)) : given;
      }
      this.#values.set(key, value);
      return value;
    } finally {
      this.#working.delete(key);
    }
  }

  #variantsOf(block: Block): readonly Variant[] {
    let variants = this.#variants.get(block);
    if (variants === undefined) {
      variants = this.#findVariants(block);
      this.#variants.set(block, variants);
    }
    return variants;
  }

  #findVariants(block: Block): Variant[] {
    const { body, labels, place } = block;
    const find = (name: string) => body.attributes.find((each) => each.name === name);
    const [matrix, naming] = [find('matrix'), find('name')];
    const label = labels[0] as string;
    if (matrix === undefined) {
      if (naming !== undefined) throw hclError(naming.place, 'Invalid name', 'name requires matrix.');
      checkName(label, block);
      return [{ name: label, block, scope: this }];
    }
    const variants = scopesOf(matrix, this).map((scope) => {
      const name = naming === undefined ? label : textOf(evaluate(naming.expression, scope));
      if (name === undefined)
        throw hclError((naming as Attribute).place, 'Invalid name', 'The name must be a string.');
      checkName(name, block);
      return { name, block, scope };
    });
    const names = new Set<string>();
    for (const { name } of variants) {
      if (names.has(name))
        throw hclError(
          place,
          'Invalid name',
          `duplicate name "${name}".`,
          'Give each variant of the matrix a name of its own.',
        );
      names.add(name);
    }
    return variants;
  }

  #target({ block, scope, name }: Variant): Target {
    const target: Record<string, unknown> = {};
    for (const attribute of block.body.attributes) {
      if (attribute.name === 'matrix' || attribute.name === 'name') continue;
      if (!isAttribute(attribute.name)) throw unknownAttribute(attribute, attributeNames);
      const key = `target.${name}.${attribute.name}`;
      this.#working.add(key);
      try {
        const value = readAttribute(attribute.name, evaluate(attribute.expression, scope), attribute);
        if (value !== undefined) target[attribute.name] = value;
      } finally {
        this.#working.delete(key);
      }
    }
    refuseBlocks(block);
    return target as Target;
  }

  #group(block: Block): Group {
    checkName(block.labels[0] as string, block);
    refuseBlocks(block);
    const group: { targets?: readonly string[]; description?: string } = {};
    for (const attribute of block.body.attributes) {
      if (attribute.name === 'matrix' || attribute.name === 'name') {
        throw hclError(attribute.place, 'Invalid group', `${attribute.name} is not supported for groups.`);
      }
      const value = evaluate(attribute.expression, this);
      if (attribute.name === 'targets') group.targets = readAttribute('tags', value, attribute) ?? [];
      else if (attribute.name === 'description')
        group.description = readAttribute('description', value, attribute);
      else throw unknownAttribute(attribute, ['targets', 'description']);
    }
    if (group.targets === undefined)
      throw hclError(
        block.place,
        'Missing required argument',
        'The argument "targets" is required, but no definition was found.',
      );
    return { ...group, targets: [...new Set(group.targets)] };
  }
}

/** A map whose values are found when they are asked for. */
class LazyMap extends Map<string, Value> {
  readonly #find: (name: string) => Value | undefined;

  constructor(find: (name: string) => Value | undefined) {
    super();
    this.#find = find;
  }

  override get(name: string): Value | undefined {
    return this.#find(name);
  }
}

function scopesOf({ expression, place }: Attribute, outer: Scope): Scope[] {
  const matrix = evaluate(expression, outer);
  if (!isMap(matrix)) throw hclError(place, 'Invalid matrix', 'matrix must be a map.');
  let rows: ReadonlyMap<string, Value>[] = [new Map()];
  for (const [name, values] of sortedEntries(matrix)) {
    const items = elementsOf(values);
    if (items === undefined)
      throw hclError(place, 'Invalid matrix', `matrix values must be a list, not ${typeName(values)}.`);
    rows = items.flatMap((item) => rows.map((row) => new Map([...row, [name, item] as const])));
    if (rows.length > 10_000) throw hclError(place, 'Invalid matrix', 'It has more than 10000 variants.');
  }
  return rows.map((row) => innerScope(outer, row));
}

function userFunction(block: Block, scope: Scope): HclFunction {
  const find = (name: string) => block.body.attributes.find((each) => each.name === name);
  const name = block.labels[0] as string;
  for (const attribute of block.body.attributes) {
    if (!['params', 'variadic_params', 'result'].includes(attribute.name)) {
      throw unknownAttribute(attribute, ['params', 'variadic_params', 'result']);
    }
  }
  const [given, variadicGiven, result] = [find('params'), find('variadic_params'), find('result')];
  if (given === undefined)
    throw hclError(block.place, 'Invalid function', `empty params not allowed for ${name}.`);
  if (result === undefined)
    throw hclError(block.place, 'Invalid function', `empty result not allowed for ${name}.`);
  if (given.expression.kind !== 'tuple')
    throw hclError(given.place, 'Invalid function', 'params must be a list of names.');
  const params = given.expression.items.map(keyword);
  const variadic = variadicGiven === undefined ? undefined : keyword(variadicGiven.expression);
  let depth = 0;
  return {
    params,
    variadic,
    call(args) {
      const variables = new Map<string, Value>(params.map((param, i) => [param, args[i] as Value]));
      if (variadic !== undefined) variables.set(variadic, args.slice(params.length));
      if (++depth > 100)
        throw hclError(block.place, 'Invalid function', `function cycle not allowed for ${name}.`);
      try {
        return evaluate(result.expression, innerScope(scope, variables));
      } finally {
        depth--;
      }
    },
  };
}

function keyword(expression: Expression): string {
  if (expression.kind === 'variable') return expression.name;
  // JSON has no names, but texts.
  const [part, ...more] = expression.kind === 'template' ? expression.parts : [];
  if (part?.kind === 'text' && more.length === 0 && /^[\p{ID_Start}_][\p{ID_Continue}-]*$/u.test(part.text))
    return part.text;
  throw hclError(expression.place, 'Invalid param element', 'Each parameter name must be an identifier.');
}

function checkName(name: string, { place, type }: Block): void {
  if (!targetName.test(name))
    throw hclError(
      place,
      'Invalid name',
      `The name of a ${type} may have letters, digits, - and _ only, not ${JSON.stringify(name)}.`,
    );
}

function refuseBlocks({ body }: Block): void {
  const [inner] = body.blocks;
  if (inner !== undefined)
    throw hclError(
      inner.place,
      'Unsupported block type',
      `Blocks of type "${inner.type}" are not expected here.`,
    );
}

function unknownAttribute({ name, place }: Attribute, known: readonly string[]): DrydockError {
  return hclError(
    place,
    'Unsupported argument',
    `An argument named "${name}" is not expected here.`,
    `Arguments: ${known.join(', ')}.`,
  );
}
