/**
 * `.dockerignore` files, and the lists of patterns made of them. LLB's include and exclude patterns have the same form.
 * https://docs.docker.com/build/concepts/context/#dockerignore-files
 */
import { fail } from '../errors/index.ts';
import { compileGlob, type Glob, type PatternMemory } from '../patterns/index.ts';

/** The patterns in a `.dockerignore` file's text, cleaned, without comments and blank lines. */
export function readIgnore(text: string): string[] {
  const patterns: string[] = [];
  for (const raw of text.replace(/^\ufeff/, '').split('\n')) {
    if (raw.startsWith('#')) continue;
    let pattern = raw.trim();
    if (pattern === '') continue;
    const exception = pattern.startsWith('!');
    if (exception) pattern = pattern.slice(1).trim();
    if (pattern !== '') {
      pattern = cleanPattern(pattern);
      if (pattern.length > 1 && pattern.startsWith('/')) pattern = pattern.slice(1);
    }
    patterns.push(exception ? `!${pattern}` : pattern);
  }
  return patterns;
}

/** Removes `.`, inner `..`, doubled and trailing slashes, as Go's filepath.Clean does. */
function cleanPattern(pattern: string): string {
  const rooted = pattern.startsWith('/');
  const parts: string[] = [];
  for (const part of pattern.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!rooted) parts.push('..');
  }
  const path = parts.join('/');
  return rooted ? `/${path}` : path || '.';
}

/**
 * The result for a path, with the patterns that matched it or a folder above it; paths below it are matched from here.
 */
export interface MatchState {
  readonly matched: boolean;
  readonly by: readonly boolean[];
}

interface Pattern {
  /** As it was given. */
  text: string;
  exception: boolean;
  test: Glob;
  /** One matcher for each part of the pattern; undefined: this part and all after it may stand for anything. */
  parts: (Glob | undefined)[];
}

/** A list of patterns, of which the last that matches decides. Paths are relative, without a leading slash. */
export class IgnoreMatcher {
  /** Whether there are `!` patterns. */
  readonly hasExceptions: boolean;
  readonly #patterns: Pattern[] = [];

  /** Reads the patterns. Throws `invalid` on a malformed one. */
  constructor(patterns: readonly string[]) {
    const memory = { left: 1 << 18 };
    for (const raw of patterns) {
      let text = raw.trim();
      if (text === '') continue;
      text = cleanPattern(text);
      const exception = text.startsWith('!');
      if (exception) text = text.slice(1);
      if (text === '') {
        throw fail('invalid', 'file', 'illegal exclusion pattern: "!"', {
          hint: 'Write a pattern after the "!".',
        });
      }
      const test = compile(text, memory);
      this.#patterns.push({ text: raw.trim(), exception, test, parts: partGlobs(text, memory) });
    }
    this.hasExceptions = this.#patterns.some((pattern) => pattern.exception);
  }

  /** Matches a path, given the state of its folder (undefined at the top). */
  match(path: string, parent?: MatchState): MatchState {
    let matched = false;
    const by: boolean[] = [];
    for (let i = 0; i < this.#patterns.length; i++) {
      const pattern = this.#patterns[i]!;
      let hit = parent?.by[i] ?? false;
      // A pattern that could not change the outcome is skipped, and so does not count below this path either.
      if (!hit && pattern.exception === matched) hit = pattern.test(path);
      by.push(hit);
      if (hit) matched = !pattern.exception;
    }
    return { matched, by };
  }

  /** Matches a path whose folders have not been matched before. */
  matches(path: string): boolean {
    return this.#stateOf(path).matched;
  }

  /** The pattern that decides that a path is matched; undefined for a path that is not. */
  decisive(path: string): string | undefined {
    const { matched, by } = this.#stateOf(path);
    return matched ? this.#patterns[by.lastIndexOf(true)]?.text : undefined;
  }

  #stateOf(path: string): MatchState {
    let state: MatchState | undefined;
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) {
      state = this.match(path.slice(0, at), state);
    }
    return this.match(path, state);
  }

  /** Whether the outcome of something below a folder could differ from the folder's own. */
  canDifferBelow(dir: string, state: MatchState): boolean {
    const names = dir.split('/');
    return this.#patterns.some(
      (pattern, i) =>
        !state.by[i] && pattern.exception === state.matched && reachesBelow(pattern.parts, names),
    );
  }
}

function reachesBelow(parts: readonly (Glob | undefined)[], names: readonly string[]): boolean {
  for (const [i, name] of names.entries()) {
    if (i >= parts.length) return false;
    const part = parts[i];
    if (part === undefined) return true;
    if (!part(name)) return false;
  }
  return parts.length > names.length;
}

/** The matchers of a pattern's parts. `**` and classes (which may match a slash) can reach any depth. */
function partGlobs(text: string, memory: PatternMemory): (Glob | undefined)[] {
  const parts: (Glob | undefined)[] = [];
  for (const part of text.split('/')) {
    if (part.includes('**') || part.includes('[') || part.includes(']') || part.endsWith('\\')) {
      parts.push(undefined);
      break;
    }
    parts.push(compileGlob(part, false, memory));
  }
  return parts;
}

/** Compiles a pattern. `**` stands for any number of folders; at the end, for anything. */
function compile(text: string, memory: PatternMemory): Glob {
  const special = /[*?[\]\\]/;
  if (text.startsWith('**') && !special.test(text.slice(2))) {
    const suffix = text.slice(2);
    return (path) => path.endsWith(suffix) || (suffix.startsWith('/') && path === suffix.slice(1));
  }
  return compileGlob(text, true, memory);
}
