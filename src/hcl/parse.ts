/** Reads HCL's own syntax. */
import { parseExpression } from './parse-expression.ts';
import { identifier, Scanner } from './scanner.ts';
import type { Attribute, Block, Body, SourceFile } from './types.ts';

/**
 * Reads a file in HCL's own syntax. Throws `invalid` (hop `client`), with the place.
 *
 *     parseHcl({ filename: 'bake.hcl', text: 'target "app" { tags = ["app"] }' }).blocks[0].labels // ['app']
 */
export function parseHcl(file: SourceFile): Body {
  const scanner = new Scanner(file);
  const body = parseBody(scanner, 0);
  if (!scanner.done)
    throw scanner.error('Argument or block definition required', 'An argument or block is expected here.');
  return body;
}

const maxDepth = 100;

function parseBody(scanner: Scanner, depth: number): Body {
  if (depth > maxDepth) throw scanner.error('Too many levels', `Blocks may be nested ${maxDepth} deep.`);
  const attributes: Attribute[] = [];
  const names = new Set<string>();
  const blocks: Block[] = [];
  for (;;) {
    scanner.space(true);
    if (scanner.done || scanner.char === '}') return { attributes, blocks };
    const start = scanner.at;
    const name = scanner.match(identifier);
    if (name === undefined) {
      throw scanner.error(
        'Argument or block definition required',
        'An argument or block definition is required here.',
      );
    }
    scanner.space(false);
    if (scanner.char === '=' && !scanner.starts('==')) {
      scanner.at++;
      const attribute = parseValue(scanner, name, start);
      if (names.has(name)) {
        throw scanner.error(
          'Attribute redefined',
          `The argument "${name}" was already set.`,
          start,
          start + name.length,
        );
      }
      names.add(name);
      attributes.push(attribute);
      endOfLine(scanner, 'argument');
    } else blocks.push(parseBlock(scanner, name, start, depth));
  }
}

function parseBlock(scanner: Scanner, type: string, start: number, depth: number): Block {
  const labels: string[] = [];
  for (;;) {
    scanner.space(false);
    if (scanner.char === '{') break;
    const word = scanner.match(identifier);
    if (word !== undefined) labels.push(word);
    else if (scanner.char === '"') labels.push(quotedLabel(scanner));
    else {
      throw scanner.error(
        'Invalid block definition',
        'Either a quoted string block label or an opening brace ("{") is expected here.',
      );
    }
  }
  const place = scanner.place(start);
  scanner.at++;
  scanner.space(false);
  const body = isLineEnd(scanner) ? parseBody(scanner, depth + 1) : parseLine(scanner);
  if (!scanner.take('}'))
    throw scanner.error('Unclosed configuration block', `The block ${type} has no "}" at its end.`, start);
  endOfLine(scanner, 'block');
  return { type, labels, body, place };
}

/** Reads the body of a block on one line: nothing, or one argument. */
function parseLine(scanner: Scanner): Body {
  if (scanner.char === '}') return { attributes: [], blocks: [] };
  const start = scanner.at;
  const name = scanner.match(identifier);
  scanner.space(false);
  if (name === undefined || !scanner.starts('=') || scanner.starts('==')) {
    throw scanner.error(
      'Argument definition required',
      'A block on a single line can contain only a single argument. A nested block has lines of its own.',
      start,
    );
  }
  scanner.at++;
  const attribute = parseValue(scanner, name, start);
  scanner.space(false);
  if (scanner.char !== '}') {
    throw scanner.error(
      'Invalid single-argument block definition',
      'A block whose argument is on its first line ends on that line, with "}" behind its only argument.',
    );
  }
  return { attributes: [attribute], blocks: [] };
}

/** Reads what follows the "=" of an argument. */
function parseValue(scanner: Scanner, name: string, start: number): Attribute {
  const expression = parseExpression(scanner, false);
  return { name, expression, place: scanner.place(start) };
}

function quotedLabel(scanner: Scanner): string {
  const start = scanner.at;
  const text = scanner.match(/"(?:[^"\\\n$%]|\\.|[$%](?!\{))*"/y);
  if (text === undefined)
    throw scanner.error('Invalid block label', 'A label is a text without a template.', start);
  try {
    return JSON.parse(text) as string;
  } catch {
    throw scanner.error('Invalid block label', 'A label is a text without a template.', start);
  }
}

function isLineEnd(scanner: Scanner): boolean {
  return scanner.done || scanner.starts('\n') || scanner.starts('\r\n');
}

/** After an item only the end of the line may come. */
function endOfLine(scanner: Scanner, what: string): void {
  scanner.space(false);
  if (isLineEnd(scanner)) return;
  throw scanner.error(
    `Missing newline after ${what}`,
    `${what === 'block' ? 'A block' : 'An argument'} definition must end with a newline.`,
  );
}
