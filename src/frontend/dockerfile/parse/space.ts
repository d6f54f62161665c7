/** The characters that are whitespace in a Dockerfile: Unicode's White_Space, as in Go's `unicode.IsSpace`. */
const SPACE = /^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$/;

/** Whether one character is whitespace. */
export function isSpace(ch: string): boolean {
  if (ch <= '\x7f') return ch === ' ' || (ch >= '\t' && ch <= '\r');
  return SPACE.test(ch);
}

/** The text without whitespace at its start. */
export function trimStart(text: string): string {
  let at = 0;
  while (at < text.length && isSpace(text[at]!)) at++;
  return at === 0 ? text : text.slice(at);
}

/** The text without whitespace at both ends. */
export function trim(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1]!)) end--;
  return trimStart(text.slice(0, end));
}

/** Cuts at the first run of blanks (tab, vertical tab, form feed, carriage return, space). */
export function cutBlank(text: string): [string, string | undefined] {
  const match = /[\t\v\f\r ]+/.exec(text);
  return match === null
    ? [text, undefined]
    : [text.slice(0, match.index), text.slice(match.index + match[0].length)];
}
