/** Wildcards of names and texts that are no paths: policies, steps, filters. Pure. */

/**
 * Whether all of `text` fits the pattern. `*` is any run of characters (an empty one, too, and also `/` and `:`), and
 * `one`, where it is given, any one character; everything else stands for itself, and case counts. Takes at most
 * pattern × text steps.
 *
 *     fitsWildcards('RUN npm ci*', 'RUN npm ci --omit=dev') // true
 */
export function fitsWildcards(pattern: string, text: string, one?: '?'): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    const c = pattern[p];
    if (c === '*') {
      star = p++;
      mark = t;
    } else if (c !== undefined && (c === one || c === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
