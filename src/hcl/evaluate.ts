/** Calculates the values of expressions. */
import { clip, DrydockError } from '../errors/index.ts';
import { hclError } from './error.ts';
import {
  type BinaryOperator,
  type Expression,
  type Scope,
  splatItem,
  type TemplatePart,
  type Value,
  ValueSet,
} from './types.ts';
import {
  alike,
  boolOf,
  elementsOf,
  equals,
  isList,
  isMap,
  numberOf,
  sortedEntries,
  textOf,
  typeName,
} from './values.ts';

/**
 * The value of an expression. Throws `invalid` (hop `client`), with the place, for what the scope does not have and for
 * values that do not fit.
 */
export function evaluate(expression: Expression, scope: Scope): Value {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'parentheses':
      return evaluate(expression.inner, scope);
    case 'template':
      return template(expression, scope);
    case 'variable': {
      const value = scope.variable(expression.name);
      if (value !== undefined) return value;
      throw hclError(
        expression.place,
        'Unknown variable',
        `There is no variable named "${expression.name}".`,
      );
    }
    case 'attribute':
      return attribute(evaluate(expression.of, scope), expression.name, expression);
    case 'index':
      return index(evaluate(expression.of, scope), evaluate(expression.key, scope), expression);
    case 'splat':
      return splat(evaluate(expression.of, scope), expression.each, scope);
    case 'call':
      return call(expression, scope);
    case 'unary': {
      const { operator, operand } = expression;
      const value = evaluate(operand, scope);
      return operator === '-' ? -number(value, operand) : !bool(value, operand);
    }
    case 'binary':
      return binary(expression.operator, expression.left, expression.right, scope);
    case 'conditional': {
      const yes = bool(evaluate(expression.condition, scope), expression.condition);
      const value = evaluate(yes ? expression.yes : expression.no, scope);
      return alikeOther(value, yes ? expression.no : expression.yes, scope);
    }
    case 'tuple':
      return expression.items.map((item) => evaluate(item, scope));
    case 'object': {
      const map = new Map<string, Value>();
      for (const { key, value } of expression.items) map.set(keyText(key, scope), evaluate(value, scope));
      return map;
    }
    case 'for':
      return forValue(expression, scope);
  }
}

/** A scope with further variables before those of `outer`. */
export function innerScope(outer: Scope, variables: ReadonlyMap<string, Value>): Scope {
  return {
    variable: (name) => (variables.has(name) ? variables.get(name) : outer.variable(name)),
    function: (name) => outer.function(name),
  };
}

/** Both results of a conditional have one type: where the other one is a text, a simple value becomes one, too. */
function alikeOther(value: Value, other: Expression, scope: Scope): Value {
  if (value === null || typeof value === 'string' || typeof value === 'object') return value;
  try {
    const [same] = alike([value, evaluate(other, scope)]);
    return same as Value;
  } catch {
    return value;
  }
}

function template({ parts }: Extract<Expression, { kind: 'template' }>, scope: Scope): Value {
  const [only] = parts;
  if (only === undefined) return '';
  // A lone `${…}` keeps its type.
  if (parts.length === 1 && only.kind === 'value') return evaluate(only.expression, scope);
  return renderParts(parts, scope);
}

const maxText = 16 * 1024 * 1024;

function renderParts(parts: readonly TemplatePart[], scope: Scope): string {
  let text = '';
  for (const part of parts) {
    if (part.kind === 'text') text += part.text;
    else if (part.kind === 'value') {
      const value = evaluate(part.expression, scope);
      const shown = textOf(value);
      if (shown === undefined) {
        const why =
          value === null
            ? 'The expression result is null. Cannot include a null value in a string template.'
            : `Cannot include the given value in a string template: string required, but ${typeName(value)} given.`;
        throw hclError(part.expression.place, 'Invalid template interpolation value', why);
      }
      text += shown;
    } else if (part.kind === 'if') {
      const yes = bool(evaluate(part.condition, scope), part.condition);
      text += renderParts(yes ? part.yes : part.no, scope);
    } else {
      const { key, value, collection } = part;
      for (const variables of rounds(collection, key, value, scope)) {
        text += renderParts(part.body, innerScope(scope, variables));
        if (text.length > maxText)
          throw hclError(collection.place, 'Text too long', 'The template makes more than 16 MiB.');
      }
    }
  }
  return text;
}

function* rounds(
  collection: Expression,
  key: string | undefined,
  name: string,
  scope: Scope,
): Generator<Map<string, Value>> {
  const value = evaluate(collection, scope);
  const items: readonly (readonly [Value, Value])[] | undefined = isMap(value)
    ? sortedEntries(value)
    : value instanceof ValueSet
      ? value.items.map((item) => [item, item] as const)
      : elementsOf(value)?.map((item, i) => [i, item] as const);
  if (items === undefined) {
    throw hclError(
      collection.place,
      'Iteration over non-iterable value',
      `A value of type ${typeName(value)} cannot be used as the collection in a "for" expression.`,
    );
  }
  for (const [k, v] of items)
    yield new Map<string, Value>([...(key === undefined ? [] : [[key, k] as const]), [name, v]]);
}

function forValue(expression: Extract<Expression, { kind: 'for' }>, scope: Scope): Value {
  const { key, value, collection, resultKey, result, condition, grouped } = expression;
  const list: Value[] = [];
  const map = new Map<string, Value>();
  for (const variables of rounds(collection, key, value, scope)) {
    const inner = innerScope(scope, variables);
    if (condition !== undefined && !bool(evaluate(condition, inner), condition)) continue;
    const made = evaluate(result, inner);
    if (resultKey === undefined) {
      list.push(made);
      continue;
    }
    const name = keyText(resultKey, inner);
    if (grouped) map.set(name, [...((map.get(name) as Value[] | undefined) ?? []), made]);
    else if (map.has(name)) {
      throw hclError(
        resultKey.place,
        'Duplicate object key',
        `Two different items produced the key "${clip(name, 100)}" in this "for" expression.`,
        'With ... behind the value, the values of a key become a tuple.',
      );
    } else map.set(name, made);
  }
  return resultKey === undefined ? list : map;
}

function keyText(key: Expression, scope: Scope): string {
  const text = textOf(evaluate(key, scope));
  if (text !== undefined) return text;
  throw hclError(key.place, 'Incorrect key type', "Can't use this value as a key: string required.");
}

function attribute(of: Value, name: string, { place }: Expression): Value {
  if (isMap(of)) {
    const value = of.get(name);
    if (value !== undefined) return value;
    throw hclError(place, 'Unsupported attribute', `This object does not have an attribute named "${name}".`);
  }
  if (of === null)
    throw hclError(
      place,
      'Attempt to get attribute from null value',
      'This value is null, so it does not have any attributes.',
    );
  throw hclError(place, 'Unsupported attribute', `Can't access attributes on a ${typeName(of)}.`);
}

function index(of: Value, key: Value, { place }: Expression): Value {
  if (of === null)
    throw hclError(
      place,
      'Attempt to index null value',
      'This value is null, so it does not have any indices.',
    );
  if (isMap(of)) {
    const value = of.get(textOf(key) ?? '');
    if (value !== undefined) return value;
  } else if (isList(of)) {
    const value = of[numberOf(key) ?? -1];
    if (value !== undefined) return value;
  } else throw hclError(place, 'Invalid index', `A value of type ${typeName(of)} does not have any indices.`);
  throw hclError(
    place,
    'Invalid index',
    'The given key does not identify an element in this collection value.',
  );
}

function splat(of: Value, each: Expression, scope: Scope): Value {
  if (of === null) return [];
  const items = isMap(of) ? [of] : (elementsOf(of) ?? [of]);
  return items.map((item) => evaluate(each, innerScope(scope, new Map([[splatItem, item]]))));
}

function call(expression: Extract<Expression, { kind: 'call' }>, scope: Scope): Value {
  const { name, place, spread } = expression;
  const found = scope.function(name);
  if (found === undefined) {
    throw hclError(place, 'Call to unknown function', `There is no function named "${name}".`);
  }
  if (found.callWritten !== undefined) return found.callWritten(expression.args, scope);
  const args = expression.args.map((arg) => evaluate(arg, scope));
  if (spread) {
    const last = args.pop() as Value;
    const items = elementsOf(last);
    if (items === undefined)
      throw hclError(
        place,
        'Invalid expanding argument value',
        'The expanding argument (indicated by ...) must be of a tuple, list, or set type.',
      );
    args.push(...items);
  }
  const { params, variadic } = found;
  if (args.length < params.length) {
    throw hclError(
      place,
      'Not enough function arguments',
      `Function "${name}" expects ${params.length} argument(s). Missing value for "${params[args.length]}".`,
    );
  }
  if (args.length > params.length && variadic === undefined) {
    throw hclError(
      place,
      'Too many function arguments',
      `Function "${name}" expects only ${params.length} argument(s).`,
    );
  }
  try {
    return found.call?.(args) ?? null;
  } catch (err) {
    // An error that has its place is of an expression inside, or of a function that the file defines.
    if (err instanceof DrydockError && err.source !== undefined) throw err;
    throw hclError(
      place,
      'Error in function call',
      `Call to function "${name}" failed: ${err instanceof Error ? err.message : err}.`,
    );
  }
}

function binary(operator: BinaryOperator, left: Expression, right: Expression, scope: Scope): Value {
  const a = evaluate(left, scope);
  if (operator === '&&' || operator === '||') {
    const first = bool(a, left);
    const second = bool(evaluate(right, scope), right);
    return operator === '&&' ? first && second : first || second;
  }
  const b = evaluate(right, scope);
  if (operator === '==') return equals(a, b);
  if (operator === '!=') return !equals(a, b);
  const x = number(a, left);
  const y = number(b, right);
  switch (operator) {
    case '<':
      return x < y;
    case '<=':
      return x <= y;
    case '>':
      return x > y;
    case '>=':
      return x >= y;
    case '+':
      return x + y;
    case '-':
      return x - y;
    case '*':
      return x * y;
    case '/':
    case '%':
      if (y === 0) throw hclError(right.place, 'Division by zero', 'The divisor is zero.');
      return operator === '/' ? x / y : x % y;
  }
}

function number(value: Value, { place }: Expression): number {
  const found = numberOf(value);
  if (found !== undefined) return found;
  throw hclError(
    place,
    'Invalid operand',
    `Unsuitable value for operand: a number is required, not ${typeName(value)}.`,
  );
}

function bool(value: Value, { place }: Expression): boolean {
  const found = boolOf(value);
  if (found !== undefined) return found;
  throw hclError(place, 'Invalid operand', `Unsuitable value: bool is required, not ${typeName(value)}.`);
}
