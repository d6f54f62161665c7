/** Measures a JSON text before it is parsed: a small text may be large, or deep, as values. Pure. */

interface JsonSize {
  /** How deep lists and objects are nested. */
  depth: number;
  /** The number of values and names in all lists and objects together. */
  values: number;
  /** The number of names, and of items that commas separate, where these have limits of their own. */
  names?: number;
  items?: number;
}

/** The limit that a JSON text exceeds; undefined when none. The text need not be valid. */
export function jsonExcess(text: string, most: JsonSize): keyof JsonSize | undefined {
  const { names: maxNames = Infinity, items: maxItems = Infinity } = most;
  let depth = 0;
  let values = 0;
  let names = 0;
  let items = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === quote) i = endOfText(text, i);
    else if (code === comma || code === colon) {
      values++;
      if (code === colon ? ++names > maxNames : ++items > maxItems) return code === colon ? 'names' : 'items';
    } else if (code === openList || code === openObject) {
      values++;
      if (++depth > most.depth) return 'depth';
    } else if (code === closeList || code === closeObject) depth--;
    if (values > most.values) return 'values';
  }
  return undefined;
}

const [quote, backslash, comma, colon] = [0x22, 0x5c, 0x2c, 0x3a];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The position of the closing quote of the text that begins at `from`. */
function endOfText(text: string, from: number): number {
  let i = from + 1;
  while (i < text.length && text.charCodeAt(i) !== quote) i += text.charCodeAt(i) === backslash ? 2 : 1;
  return i;
}
