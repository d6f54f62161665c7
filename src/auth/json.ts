/**
 * JSON (RFC 8259) read with places, so that a mistake in a policy file is said with its line and column. Pure.
 *
 * jsonc-parser was tried for it (3.3.1). It gives offsets and codes, of which the texts, the lines and the columns would
 * still be ours; it takes a name given twice, refuses a byte order mark, goes on after the first mistake, and has no limit
 * of depth: a hundred thousand brackets are a RangeError of its stack. Its main file cannot be bundled into a module. It
 * loads in 4 ms, this file in half of one.
 */

/** A place in a text: line and column, both 1-based, columns in UTF-16 units. */
interface TextPosition {
  line: number;
  column: number;
}

export type JsonValue =
  | { type: 'object'; at: number; members: Map<string, { keyAt: number; value: JsonValue }> }
  | { type: 'array'; at: number; items: JsonValue[] }
  | { type: 'string'; at: number; value: string }
  | { type: 'number'; at: number; value: number }
  | { type: 'boolean'; at: number; value: boolean }
  | { type: 'null'; at: number };

/** A mistake in a text, with its offset. */
export class JsonFault extends Error {
  readonly at: number;
  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** The line and column of an offset. */
export function placeOf(text: string, at: number): TextPosition {
  const before = text.slice(0, at);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: at - lineStart + 1 };
}

const maxDepth = 64;

/** Parses one JSON document. Unlike JSON.parse it refuses a name given twice. Throws `JsonFault`. */
export function parseJson(text: string): JsonValue {
  let at = text.startsWith('\ufeff') ? 1 : 0;
  const value = readValue(0);
  skip();
  if (at < text.length) throw new JsonFault('there is text after the end of the document', at);
  return value;

  function skip(): void {
    while (at < text.length && ' \t\r\n'.includes(text[at] as string)) at++;
    if (text[at] === '/' && (text[at + 1] === '/' || text[at + 1] === '*')) {
      throw new JsonFault('JSON has no comments', at);
    }
  }

  function found(): string {
    return at < text.length ? JSON.stringify(text[at]) : 'the end of the file';
  }

  function readValue(depth: number): JsonValue {
    skip();
    if (depth > maxDepth) throw new JsonFault('nested too deeply', at);
    const start = at;
    const c = text[at];
    if (c === '{') return readObject(depth);
    if (c === '[') return readArray(depth);
    if (c === '"') return { type: 'string', at: start, value: readString() };
    const word = /[a-zA-Z0-9+\-._]+/y;
    word.lastIndex = at;
    const raw = word.exec(text)?.[0];
    if (raw === undefined) throw new JsonFault(`expected a value, found ${found()}`, at);
    at += raw.length;
    if (raw === 'true' || raw === 'false') return { type: 'boolean', at: start, value: raw === 'true' };
    if (raw === 'null') return { type: 'null', at: start };
    if (/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(raw)) {
      return { type: 'number', at: start, value: Number(raw) };
    }
    throw new JsonFault(`expected a value, found ${raw}; text needs double quotes`, start);
  }

  function readObject(depth: number): JsonValue {
    const start = at++;
    const members = new Map<string, { keyAt: number; value: JsonValue }>();
    skip();
    if (text[at] === '}') {
      at++;
      return { type: 'object', at: start, members };
    }
    for (;;) {
      skip();
      const keyAt = at;
      if (text[at] !== '"') {
        const extra = text[at] === '}' ? ' (a comma before it is too many)' : '';
        throw new JsonFault(`expected a name in double quotes, found ${found()}${extra}`, at);
      }
      const key = readString();
      if (members.has(key)) throw new JsonFault(`${JSON.stringify(key)} is given twice`, keyAt);
      skip();
      if (text[at] !== ':') throw new JsonFault(`expected ":", found ${found()}`, at);
      at++;
      members.set(key, { keyAt, value: readValue(depth + 1) });
      skip();
      if (text[at] === ',') at++;
      else if (text[at] === '}') break;
      else throw new JsonFault(`expected "," or "}", found ${found()}`, at);
    }
    at++;
    return { type: 'object', at: start, members };
  }

  function readArray(depth: number): JsonValue {
    const start = at++;
    const items: JsonValue[] = [];
    skip();
    if (text[at] === ']') {
      at++;
      return { type: 'array', at: start, items };
    }
    for (;;) {
      skip();
      if (text[at] === ']') throw new JsonFault('a comma before "]" is too many', at);
      items.push(readValue(depth + 1));
      skip();
      if (text[at] === ',') at++;
      else if (text[at] === ']') break;
      else throw new JsonFault(`expected "," or "]", found ${found()}`, at);
    }
    at++;
    return { type: 'array', at: start, items };
  }

  function readString(): string {
    const start = at;
    const pattern = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
    pattern.lastIndex = at;
    const raw = pattern.exec(text)?.[0];
    if (raw === undefined)
      throw new JsonFault('text that does not end on its line, or has a bad escape', start);
    at += raw.length;
    return JSON.parse(raw) as string;
  }
}
