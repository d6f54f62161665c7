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
      const expression = parseExpression(scanner, false);
      const place = scanner.place(start);
      if (names.has(name)) {
        throw scanner.error(
          'Attribute redefined',
          `The argument "${name}" was already set.`,
          start,
          start + name.length,
        );
      }
      names.add(name);
      attributes.push({ name, expression, place });
      endOfLine(scanner, depth, 'argument');
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
  const body = parseBody(scanner, depth + 1);
  if (!scanner.take('}'))
    throw scanner.error('Unclosed configuration block', `The block ${type} has no "}" at its end.`, start);
  endOfLine(scanner, depth, 'block');
  return { type, labels, body, place };
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

/** After an item only the end of the line may come, or the end of the block that it is in. */
function endOfLine(scanner: Scanner, depth: number, what: string): void {
  scanner.space(false);
  if (scanner.done || scanner.take('\n') || scanner.take('\r\n')) return;
  if (depth > 0 && scanner.char === '}') return;
  throw scanner.error(
    `Missing newline after ${what}`,
    `${what === 'block' ? 'A block' : 'An argument'} definition must end with a newline.`,
  );
}
