/** Patterns in policy rules. Pure. */

/**
 * Whether all of `text` fits the pattern. `*` is any run of characters (an empty one, too, and also `/` and `:`), and
 * `?` is any one character; everything else stands for itself, and case counts. Takes at most pattern × text steps.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    const c = pattern[p];
    if (c === '*') {
      star = p++;
      mark = t;
    } else if (c === '?' || (c !== undefined && c === text[t])) {
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
