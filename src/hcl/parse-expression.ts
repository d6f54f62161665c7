/** Reads expressions: operators by their precedence, and what may follow a term (`.name`, `[key]`, `[*]`). */
import { type ForHead, parseHeredoc, parseQuoted, parseTemplate } from './parse-template.ts';
import { identifier, Scanner } from './scanner.ts';
import { type BinaryOperator, type Expression, type SourceFile, splatItem } from './types.ts';

const levels: readonly (readonly BinaryOperator[])[] = [
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '/', '%'],
];
const maxDepth = 200;
const inner = { expression: parseExpression, forHead };
const depths = new WeakMap<Scanner, number>();

/** Reads an expression. `lines`: it may go on in the next line, as it does between brackets. Throws `invalid`. */
export function parseExpression(scanner: Scanner, lines: boolean): Expression {
  const depth = depths.get(scanner) ?? 0;
  if (depth > maxDepth) throw scanner.error('Too many levels', `Expressions may be nested ${maxDepth} deep.`);
  depths.set(scanner, depth + 1);
  try {
    return conditional(scanner, lines);
  } finally {
    depths.set(scanner, depth);
  }
}

function conditional(scanner: Scanner, lines: boolean): Expression {
  scanner.space(lines);
  const start = scanner.at;
  const condition = binary(scanner, lines, 0);
  const end = scanner.at;
  scanner.space(lines);
  if (!scanner.take('?')) {
    scanner.at = end;
    return condition;
  }
  const yes = parseExpression(scanner, lines);
  scanner.space(lines);
  if (!scanner.take(':')) {
    throw scanner.error(
      'Missing false expression in conditional',
      'The conditional operator (...?...:...) requires a false expression, delimited by a colon.',
    );
  }
  const no = parseExpression(scanner, lines);
  return { kind: 'conditional', condition, yes, no, place: scanner.place(start) };
}

function binary(scanner: Scanner, lines: boolean, level: number): Expression {
  const operators = levels[level];
  if (operators === undefined) return unary(scanner, lines);
  const start = scanner.at;
  let left = binary(scanner, lines, level + 1);
  for (;;) {
    const end = scanner.at;
    scanner.space(lines);
    const operator = operators.find((each) => scanner.starts(each));
    if (operator === undefined) {
      scanner.at = end;
      return left;
    }
    scanner.at += operator.length;
    scanner.space(lines);
    const right = binary(scanner, lines, level + 1);
    left = { kind: 'binary', operator, left, right, place: scanner.place(start) };
  }
}

function unary(scanner: Scanner, lines: boolean): Expression {
  scanner.space(lines);
  const start = scanner.at;
  const operator = scanner.char;
  if (operator !== '-' && !(operator === '!' && !scanner.starts('!='))) return traversed(scanner, lines);
  scanner.at++;
  const depth = depths.get(scanner) ?? 0;
  if (depth > maxDepth) throw scanner.error('Too many levels', `Expressions may be nested ${maxDepth} deep.`);
  depths.set(scanner, depth + 1);
  const operand = unary(scanner, lines);
  depths.set(scanner, depth);
  return { kind: 'unary', operator: operator as '-' | '!', operand, place: scanner.place(start) };
}

/** A term and what follows it. */
function traversed(scanner: Scanner, lines: boolean): Expression {
  const start = scanner.at;
  return steps(scanner, term(scanner, lines), start, lines, false);
}

/** `of` with the steps behind it. `attributesOnly`: as behind `.*`, where an index ends the splat. */
function steps(
  scanner: Scanner,
  of: Expression,
  start: number,
  lines: boolean,
  attributesOnly: boolean,
): Expression {
  let result = of;
  for (;;) {
    const end = scanner.at;
    scanner.space(lines);
    if (scanner.starts('...')) {
      scanner.at = end;
      return result;
    }
    if (scanner.take('.')) {
      scanner.space(lines);
      const name = scanner.match(identifier);
      const digits = name === undefined ? scanner.match(/\d+/y) : undefined;
      if (name !== undefined) result = { kind: 'attribute', of: result, name, place: scanner.place(start) };
      else if (digits !== undefined) {
        const key: Expression = {
          kind: 'literal',
          value: Number(digits),
          place: scanner.place(scanner.at - digits.length),
        };
        result = { kind: 'index', of: result, key, place: scanner.place(start) };
      } else if (scanner.take('*')) result = splat(scanner, result, start, lines, true);
      else throw scanner.error('Invalid attribute name', 'An attribute name is required after a dot.');
    } else if (!attributesOnly && scanner.char === '[') {
      scanner.at++;
      scanner.space(true);
      if (scanner.match(/\*\s*\]/y) !== undefined) result = splat(scanner, result, start, lines, false);
      else {
        const key = parseExpression(scanner, true);
        scanner.space(true);
        if (!scanner.take(']'))
          throw scanner.error(
            'Missing close bracket on index',
            'The index operator must end with a closing bracket ("]").',
          );
        result = { kind: 'index', of: result, key, place: scanner.place(start) };
      }
    } else {
      scanner.at = end;
      return result;
    }
  }
}

function splat(
  scanner: Scanner,
  of: Expression,
  start: number,
  lines: boolean,
  attributesOnly: boolean,
): Expression {
  const item: Expression = { kind: 'variable', name: splatItem, place: scanner.place(scanner.at) };
  const each = steps(scanner, item, scanner.at, lines, attributesOnly);
  return { kind: 'splat', of, each, place: scanner.place(start) };
}

function term(scanner: Scanner, lines: boolean): Expression {
  const start = scanner.at;
  const number = scanner.match(/\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y);
  if (number !== undefined) return { kind: 'literal', value: Number(number), place: scanner.place(start) };
  if (scanner.char === '"') return parseQuoted(scanner, inner);
  if (scanner.starts('<<')) return parseHeredoc(scanner, inner);
  if (scanner.take('(')) {
    const inner = parseExpression(scanner, true);
    scanner.space(true);
    if (!scanner.take(')'))
      throw scanner.error(
        'Unbalanced parentheses',
        'Expected a closing parenthesis to terminate the expression.',
      );
    return { kind: 'parentheses', inner, place: scanner.place(start) };
  }
  if (scanner.take('[')) return tuple(scanner, start);
  if (scanner.take('{')) return object(scanner, start);
  const name = scanner.match(identifier);
  if (name === undefined) {
    throw scanner.error(
      'Invalid expression',
      'Expected the start of an expression, but found an invalid expression token.',
    );
  }
  const end = scanner.at;
  scanner.space(lines);
  // `ns::name(…)` has no meaning in bake files.
  if (scanner.take('(')) return call(scanner, name, start);
  scanner.at = end;
  const place = scanner.place(start);
  if (name === 'true' || name === 'false') return { kind: 'literal', value: name === 'true', place };
  if (name === 'null') return { kind: 'literal', value: null, place };
  return { kind: 'variable', name, place };
}

function call(scanner: Scanner, name: string, start: number): Expression {
  const args: Expression[] = [];
  let spread = false;
  for (;;) {
    scanner.space(true);
    if (scanner.take(')')) break;
    if (spread)
      throw scanner.error(
        'Missing closing parenthesis',
        'An expanded function argument must be immediately followed by closing parentheses.',
      );
    args.push(parseExpression(scanner, true));
    scanner.space(true);
    if (scanner.take('...')) spread = true;
    else if (!scanner.take(',') && scanner.char !== ')') {
      throw scanner.error(
        'Missing argument separator',
        'A comma is required to separate each function argument from the next.',
      );
    }
  }
  return { kind: 'call', name, args, spread, place: scanner.place(start) };
}

function tuple(scanner: Scanner, start: number): Expression {
  const loop = forExpression(scanner, start, ']');
  if (loop !== undefined) return loop;
  const items: Expression[] = [];
  for (;;) {
    scanner.space(true);
    if (scanner.take(']')) return { kind: 'tuple', items, place: scanner.place(start) };
    items.push(parseExpression(scanner, true));
    scanner.space(true);
    if (!scanner.take(',') && scanner.char !== ']') {
      throw scanner.error(
        'Missing item separator',
        'Expected a comma to mark the beginning of the next item.',
      );
    }
  }
}

function object(scanner: Scanner, start: number): Expression {
  const loop = forExpression(scanner, start, '}');
  if (loop !== undefined) return loop;
  const items: { key: Expression; value: Expression }[] = [];
  for (;;) {
    scanner.space(true);
    if (scanner.take('}')) return { kind: 'object', items, place: scanner.place(start) };
    const key = objectKey(parseExpression(scanner, false));
    scanner.space(true);
    if (!(scanner.char === '=' && !scanner.starts('==')) && scanner.char !== ':') {
      throw scanner.error(
        'Missing attribute value',
        'Expected an attribute value, introduced by an equals sign ("=").',
      );
    }
    scanner.at++;
    scanner.space(true);
    items.push({ key, value: parseExpression(scanner, false) });
    scanner.space(false);
    if (scanner.take(',') || scanner.match(/\r?\n/y) !== undefined || scanner.starts('}')) continue;
    throw scanner.error(
      'Missing attribute separator',
      'Expected a newline or comma to mark the beginning of the next attribute.',
    );
  }
}

/** A bare name is the key itself; in parentheses it is a variable. */
function objectKey(key: Expression): Expression {
  return key.kind === 'variable' ? { kind: 'literal', value: key.name, place: key.place } : key;
}

function forExpression(scanner: Scanner, start: number, close: ']' | '}'): Expression | undefined {
  const inside = scanner.at;
  scanner.space(true);
  if (scanner.match(/for(?![\p{ID_Continue}-])/uy) === undefined) {
    scanner.at = inside;
    return undefined;
  }
  const { key, value, collection } = forHead(scanner);
  scanner.space(true);
  if (!scanner.take(':'))
    throw scanner.error(
      'Invalid "for" expression',
      'For expression requires a colon after the collection expression.',
    );
  let result = parseExpression(scanner, true);
  let resultKey: Expression | undefined;
  let grouped = false;
  scanner.space(true);
  if (close === '}') {
    if (!scanner.take('=>'))
      throw scanner.error(
        'Invalid "for" expression',
        'For expression requires "=>" between its key and its value.',
      );
    resultKey = result;
    result = parseExpression(scanner, true);
    scanner.space(true);
    grouped = scanner.take('...');
    scanner.space(true);
  }
  let condition: Expression | undefined;
  if (scanner.match(/if(?![\p{ID_Continue}-])/uy) !== undefined) condition = parseExpression(scanner, true);
  scanner.space(true);
  if (!scanner.take(close))
    throw scanner.error(
      'Invalid "for" expression',
      `Extra characters after the end of the "for" expression; expected "${close}".`,
    );
  return {
    kind: 'for',
    key,
    value,
    collection,
    resultKey,
    result,
    grouped,
    condition,
    place: scanner.place(start),
  };
}

/** `k, v in collection`, behind the word `for`. */
function forHead(scanner: Scanner): ForHead {
  const name = () => {
    scanner.space(true);
    const found = scanner.match(identifier);
    if (found === undefined)
      throw scanner.error('Invalid "for" expression', 'For expression requires a variable name after "for".');
    return found;
  };
  const first = name();
  scanner.space(true);
  const second = scanner.take(',') ? name() : undefined;
  scanner.space(true);
  if (scanner.match(/in(?![\p{ID_Continue}-])/uy) === undefined) {
    throw scanner.error(
      'Invalid "for" expression',
      'For expression requires the "in" keyword after its name declarations.',
    );
  }
  const collection = parseExpression(scanner, true);
  return second === undefined ? { value: first, collection } : { key: first, value: second, collection };
}

/** Reads a whole text as a template, as the texts of HCL's JSON form are. Errors outside of `${…}` are at `place`. */
export function templateOf(file: SourceFile, place: Expression['place']): Expression {
  return { ...parseTemplate(new Scanner(file), inner), place };
}
