/** Reads HCL's JSON form (json/spec.md of hashicorp/hcl): objects are blocks or objects, texts are templates. */
import { isScalar, isSeq, isMap as isYamlMap, LineCounter, parseDocument } from 'yaml';
import { hclError } from './error.ts';
import { templateOf } from './parse-expression.ts';
import type { Attribute, Block, Body, Expression, Place, SourceFile } from './types.ts';

/** The types of blocks that a file may have, and how many labels each has. */
export type BlockSchema = ReadonlyMap<string, { labels: number; blocks?: BlockSchema }>;

/**
 * Reads a file in JSON. What is a block, and what is an attribute, `blocks` tells. Throws `invalid` (hop `client`), with
 * the place.
 */
export function parseJsonHcl(file: SourceFile, blocks: BlockSchema): Body {
  try {
    JSON.parse(file.text);
  } catch (err) {
    const at = Number(/position (\d+)/.exec(String(err))?.[1] ?? 0);
    const before = file.text.slice(0, at).split('\n');
    const start = { line: before.length, character: before.at(-1)?.length ?? 0 };
    throw hclError(
      { file, range: { start, end: start } },
      'Invalid JSON',
      err instanceof Error ? err.message : String(err),
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, uniqueKeys: false, schema: 'json' });
  const reader = new Reader(file, lines);
  return reader.body(document.contents, blocks);
}

class Reader {
  readonly #file: SourceFile;
  readonly #lines: LineCounter;

  constructor(file: SourceFile, lines: LineCounter) {
    this.#file = file;
    this.#lines = lines;
  }

  body(node: unknown, schema: BlockSchema): Body {
    const attributes: Attribute[] = [];
    const blocks: Block[] = [];
    for (const [name, value, place] of this.#items(node)) {
      const block = schema.get(name);
      if (block === undefined) attributes.push({ name, expression: this.#expression(value), place });
      else blocks.push(...this.#blocks(name, value, place, block.labels, [], block.blocks ?? new Map()));
    }
    return { attributes, blocks };
  }

  *#blocks(
    type: string,
    node: unknown,
    place: Place,
    labels: number,
    found: readonly string[],
    schema: BlockSchema,
  ): Generator<Block> {
    if (isSeq(node)) {
      for (const item of node.items) yield* this.#blocks(type, item, place, labels, found, schema);
      return;
    }
    if (found.length === labels) {
      yield { type, labels: found, body: this.body(node, schema), place };
      return;
    }
    for (const [label, value, at] of this.#items(node)) {
      yield* this.#blocks(type, value, at, labels, [...found, label], schema);
    }
  }

  *#items(node: unknown): Generator<[string, unknown, Place]> {
    if (isScalar(node) && node.value === null) return;
    // A list of objects is read as one object.
    if (isSeq(node)) {
      for (const item of node.items) yield* this.#items(item);
      return;
    }
    if (!isYamlMap(node))
      throw hclError(this.#place(node), 'Incorrect JSON value type', 'A JSON object is required here.');
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : '';
      if (name !== '//') yield [name, value, this.#place(key)];
    }
  }

  #expression(node: unknown): Expression {
    const place = this.#place(node);
    if (isSeq(node)) return { kind: 'tuple', items: node.items.map((item) => this.#expression(item)), place };
    if (isYamlMap(node)) {
      const items = node.items.map(({ key, value }) => ({
        key: this.#expression(key),
        value: this.#expression(value),
      }));
      return { kind: 'object', items, place };
    }
    const value = isScalar(node) ? node.value : null;
    if (typeof value === 'string') return templateOf({ filename: this.#file.filename, text: value }, place);
    return {
      kind: 'literal',
      value: typeof value === 'number' || typeof value === 'boolean' ? value : null,
      place,
    };
  }

  #place(node: unknown): Place {
    const range =
      typeof node === 'object' && node !== null && 'range' in node
        ? (node.range as number[] | undefined)
        : undefined;
    const at = (offset: number) => {
      const { line, col } = this.#lines.linePos(offset);
      return { line: Math.max(1, line), character: Math.max(0, col - 1) };
    };
    return { file: this.#file, range: { start: at(range?.[0] ?? 0), end: at(range?.[1] ?? 0) } };
  }
}
