/**
 * Turns a text into one that people can read and every format can carry. Bytes of names that are not UTF-8 (lone
 * surrogates U+DC80 to U+DCFF, see linux/names.ts) are written as `\xe9`, also where JSON.stringify wrote them as
 * `\udce9`.
 */
export function printable(text: string): string {
  if (text.isWellFormed() && !text.includes('\\udc')) return text;
  return text
    .replace(/[\udc80-\udcff]/gu, (unit) => `\\x${(unit.charCodeAt(0) & 0xff).toString(16)}`)
    .replace(/(?<!\\)((?:\\\\)*)\\udc([89a-f][0-9a-f])/g, '$1\\x$2')
    .toWellFormed();
}
