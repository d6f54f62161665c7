/** Quotes, escapes and variables in the words of a Dockerfile, as BuildKit's shell lexer treats them. */
import { WordLexer } from './lexer.ts';

/** The value of a variable, or undefined when it is not set. */
export type Env = (name: string) => string | undefined;

export interface ExpandOptions {
  /** The Dockerfile's escape character (`directives.escape`). */
  escape: '\\' | '`';
  /** Keeps quotes in the result. */
  rawQuotes?: boolean;
  /** Keeps escape characters in the result. */
  rawEscapes?: boolean;
  /** Treats quotes as ordinary characters, for the contents of heredocs. */
  skipQuotes?: boolean;
  /** Leaves references to unset variables as written. */
  keepUnset?: boolean;
}

export interface Expanded {
  value: string;
  /** The set variables that were looked up. */
  used: Set<string>;
  /** The unset variables that were looked up, also those for which a default stood in. */
  unset: Set<string>;
}

const SPECIAL = /[$'"\\`]/;

/**
 * Expands one word. Understands '…', "…", escapes, `$x`, `${x}`, `${x:-w}` `${x-w}` `${x:+w}` `${x+w}` `${x:?w}` `${x?w}`,
 * `${x#p}` `${x##p}` `${x%p}` `${x%%p}`, `${x/p/r}` `${x//p/r}`, nested to a depth of 100.
 * Throws `invalid` (hop `dockerfile`): unmatched quotes or braces, unknown modifiers, `?` on an unset variable, a
 * result over 1 MiB.
 */
export function expandWord(word: string, env: Env, options: ExpandOptions): Expanded {
  if (!SPECIAL.test(word)) return { value: word, used: new Set(), unset: new Set() };
  const lexer = new WordLexer(word, env, options);
  const { value } = lexer.run();
  return { value, used: lexer.used, unset: lexer.unset };
}

/** Like `expandWord`, and splits the result at whitespace outside quotes (also whitespace that came from a variable). */
export function expandWords(
  word: string,
  env: Env,
  options: ExpandOptions,
): Omit<Expanded, 'value'> & { values: string[] } {
  const lexer = new WordLexer(word, env, options);
  const { words } = lexer.run();
  return { values: words, used: lexer.used, unset: lexer.unset };
}
