/**
 * The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`. `*` is any text, `?` any one character, and everything else stands
 * for itself; the escape character makes the next character ordinary. They are POSIX shell patterns without bracket
 * expressions.
 */
import { fail } from '../../../errors/index.ts';

/** The most comparisons of one substitution. Beyond it the pattern and the value are refused as too large. */
const MAX_WORK = 1 << 26;

const ANY = 0;
/** A literal character, or ANY for `?`. */
type Cell = string | typeof ANY;

/** A pattern cut at its stars: `a*b?` is [[a], [b, ANY]]. */
type Glob = Cell[][];

function parseGlob(pattern: string, esc: string): Glob {
  const glob: Glob = [[]];
  let last = glob[0]!;
  let escaped = false;
  for (const ch of pattern) {
    if (escaped) {
      escaped = false;
      // `}` and `/` end a part of `${…}`, so they too can be escaped
      if (ch !== '*' && ch !== '?' && ch !== '}' && ch !== '/' && ch !== esc)
        throw fail(
          'invalid',
          'dockerfile',
          `invalid pattern (${pattern}) in substitution: invalid escape '${esc}${ch}'`,
          {
            hint: `Only *, ?, / and } need an escape; write ${esc}${esc} for the character ${esc} itself.`,
          },
        );
      last.push(ch);
    } else if (ch === esc) escaped = true;
    else if (ch === '*') {
      last = [];
      glob.push(last);
    } else last.push(ch === '?' ? ANY : ch);
  }
  if (escaped)
    throw fail(
      'invalid',
      'dockerfile',
      `invalid pattern (${pattern}) in substitution: it ends in an escape`,
      {
        hint: `Write ${esc}${esc} for the character ${esc} itself.`,
      },
    );
  return glob;
}

function matchesAt(cells: Cell[], text: string[], at: number): boolean {
  if (at < 0 || at + cells.length > text.length) return false;
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i]!;
    if (cell !== ANY && cell !== text[at + i]) return false;
  }
  return true;
}

function firstFrom(cells: Cell[], text: string[], from: number): number {
  for (let at = from; at + cells.length <= text.length; at++) if (matchesAt(cells, text, at)) return at;
  return -1;
}

function lastFrom(cells: Cell[], text: string[], from: number): number {
  for (let at = text.length - cells.length; at >= from; at--) if (matchesAt(cells, text, at)) return at;
  return -1;
}

/**
 * The end of the match that starts exactly at `start`, or -1. Each part between stars is taken as early as possible,
 * which leaves the rest the most room, so no backtracking is needed. The last part alone decides between shortest and
 * longest.
 */
function matchEnd(glob: Glob, text: string[], start: number, longest: boolean): number {
  const head = glob[0]!;
  if (!matchesAt(head, text, start)) return -1;
  let end = start + head.length;
  for (let i = 1; i < glob.length; i++) {
    const part = glob[i]!;
    const search = longest && i === glob.length - 1 ? lastFrom : firstFrom;
    const at = search(part, text, end);
    if (at < 0) return -1;
    end = at + part.length;
  }
  return end;
}

function checkWork(pattern: string, value: string): void {
  if (pattern.length * value.length > MAX_WORK)
    throw fail('invalid', 'dockerfile', 'the pattern and the value of a substitution are too large', {
      hint: 'Use a shorter pattern, or do the substitution in a RUN step.',
    });
}

/**
 * `${value#pattern}`, with `longest` `${value##pattern}`. Throws `invalid` on a bad escape in the pattern.
 *
 *     trimPrefix('a.tar.gz', '*.', false, '\\') // 'tar.gz'
 */
export function trimPrefix(value: string, pattern: string, longest: boolean, esc: string): string {
  checkWork(pattern, value);
  const text = [...value];
  const end = matchEnd(parseGlob(pattern, esc), text, 0, longest);
  return end <= 0 ? value : text.slice(end).join('');
}

/**
 * `${value%pattern}`, with `longest` `${value%%pattern}`: the prefix of value and pattern read backwards.
 *
 *     trimSuffix('a.tar.gz', '.*', false, '\\') // 'a.tar'
 */
export function trimSuffix(value: string, pattern: string, longest: boolean, esc: string): string {
  checkWork(pattern, value);
  const text = [...value].reverse();
  const glob = parseGlob(pattern, esc)
    .map((cells) => cells.reverse())
    .reverse();
  const end = matchEnd(glob, text, 0, longest);
  return end <= 0 ? value : text.slice(end).reverse().join('');
}

/**
 * `${value/pattern/replacement}`, with `all` `${value//pattern/replacement}`: leftmost, longest matches.
 *
 *     replaceGlob('a-b-c', '-', '.', true, '\\') // 'a.b.c'
 */
export function replaceGlob(
  value: string,
  pattern: string,
  replacement: string,
  all: boolean,
  esc: string,
): string {
  checkWork(pattern, value);
  const glob = parseGlob(pattern, esc);
  const text = [...value];
  const out: string[] = [];
  let at = 0;
  let lastEnd = -1;
  for (;;) {
    const start = firstFrom(glob[0]!, text, at);
    const end = start < 0 ? -1 : matchEnd(glob, text, start, true);
    // when the earliest head leaves no room for the rest, a later one does not either
    if (end < 0) break;
    for (let i = at; i < start; i++) out.push(text[i]!);
    // an empty match right behind the last one is not another match
    if (end > start || end !== lastEnd) out.push(replacement);
    at = end;
    lastEnd = end;
    if (!all) break;
    if (end === start) {
      if (start >= text.length) break;
      out.push(text[start]!);
      at = start + 1;
    }
  }
  for (let i = at; i < text.length; i++) out.push(text[i]!);
  return out.join('');
}
