/** Cuts a template into texts and actions, and an action into tokens. Pure. */

/** A text, or the inside of a `{{…}}` with the offset at which it begins. */
type Piece = { text: string } | { action: string; at: number };

/** A token of an action. */
export interface Token {
  kind: 'field' | 'variable' | 'word' | 'string' | 'char' | 'number' | 'mark';
  text: string;
  at: number;
  /** Whether white space is before it: `.A .B` are two operands, `.A.B` is one. */
  apart: boolean;
}

/**
 * The pieces of a template. White space beside `{{- ` and ` -}}` is gone, as are comments. Calls `fail` with what is
 * wrong.
 */
export function piecesOf(text: string, fail: (why: string) => Error): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trims = false;
  while (at < text.length) {
    const open = text.indexOf('{{', at);
    let plain = open < 0 ? text.slice(at) : text.slice(at, open);
    if (trims) plain = plain.trimStart();
    if (open < 0) {
      pieces.push({ text: plain });
      break;
    }
    let start = open + 2;
    if (/^-\s/.test(text.slice(start, start + 2))) {
      plain = plain.trimEnd();
      start += 2;
    }
    if (plain !== '') pieces.push({ text: plain });
    const comment = /^\s*\/\*[\s\S]*?\*\/\s*?(\s-)?\}\}/.exec(text.slice(start));
    if (comment !== null) {
      trims = comment[1] !== undefined;
      at = start + comment[0].length;
      continue;
    }
    const close = endOf(text, start);
    if (close < 0) throw fail('a {{ is not closed');
    trims = /\s-$/.test(text.slice(start, close));
    pieces.push({ action: text.slice(start, trims ? close - 1 : close), at: start });
    at = close + 2;
  }
  return pieces;
}

const stringPattern = /"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)+'/y;

/** The offset of the `}}` that ends an action; those in strings do not. */
function endOf(text: string, start: number): number {
  for (let i = start; i < text.length; i++) {
    if (text.startsWith('}}', i)) return i;
    stringPattern.lastIndex = i;
    const quoted = '"`\''.includes(text[i] as string) ? stringPattern.exec(text) : null;
    if (quoted !== null) i += quoted[0].length - 1;
  }
  return -1;
}

const patterns: [Token['kind'], RegExp][] = [
  ['string', /"(?:[^"\\\n]|\\.)*"|`[^`]*`/y],
  ['char', /'(?:[^'\\\n]|\\.)+'/y],
  ['field', /\.[\p{L}_][\p{L}\p{N}_]*/uy],
  ['variable', /\$[\p{L}\p{N}_]*/uy],
  ['number', /[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/y],
  ['word', /[\p{L}_][\p{L}\p{N}_]*/uy],
  ['mark', /:=|[|(),=.]/y],
];

/** The tokens of an action. */
export function tokensOf(action: string, start: number, fail: (why: string) => Error): Token[] {
  const tokens: Token[] = [];
  let apart = true;
  for (let i = 0; i < action.length; ) {
    const space = /\s+/y;
    space.lastIndex = i;
    const blank = space.exec(action);
    if (blank !== null) {
      i += blank[0].length;
      apart = true;
      continue;
    }
    const found = patterns
      .map(([kind, pattern]) => {
        pattern.lastIndex = i;
        return { kind, text: pattern.exec(action)?.[0] };
      })
      .find(({ text }) => text !== undefined);
    if (found?.text === undefined)
      throw fail(`${JSON.stringify(action[i])} is unexpected in {{${action.trim()}}}`);
    tokens.push({ kind: found.kind, text: found.text, at: start + i, apart });
    i += found.text.length;
    apart = false;
  }
  return tokens;
}
