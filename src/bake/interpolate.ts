/** Variables in compose files (`${NAME:-default}`), and in `.env` files. */
import { fail } from '../errors/index.ts';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * A text with the variables in it filled in: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`,
 * `${NAME:+other}`, `${NAME:?error}`; `$$` is a dollar sign. Throws `invalid`.
 */
export function interpolate(text: string, env: Env, filename: string): string {
  let out = '';
  for (let at = 0; at < text.length; ) {
    const dollar = text.indexOf('$', at);
    if (dollar < 0) return out + text.slice(at);
    out += text.slice(at, dollar);
    const rest = text.slice(dollar + 1);
    if (rest.startsWith('$')) {
      out += '$';
      at = dollar + 2;
      continue;
    }
    const bare = /^[a-zA-Z_]\w*/.exec(rest)?.[0];
    if (bare !== undefined) {
      out += env[bare] ?? '';
      at = dollar + 1 + bare.length;
      continue;
    }
    const end = rest.startsWith('{') ? closing(rest) : -1;
    const match = end < 0 ? null : /^([a-zA-Z_]\w*)(?:(:?[-+?])([\s\S]*))?$/.exec(rest.slice(1, end));
    if (match === null) {
      throw fail(
        'invalid',
        'client',
        `${filename}: invalid interpolation format for ${JSON.stringify(text.slice(0, 200))}`,
        {
          hint: 'A dollar sign is written as $$.',
        },
      );
    }
    out += substituted(match[1] as string, match[2], match[3] ?? '', env, filename);
    at = dollar + 1 + end + 1;
  }
  return out;
}

/** The place of the brace that closes the one at the beginning; -1 when there is none. */
function closing(text: string): number {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '{') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

function substituted(
  name: string,
  operator: string | undefined,
  word: string,
  env: Env,
  filename: string,
): string {
  const value = env[name];
  const isThere = value !== undefined && (!operator?.startsWith(':') || value !== '');
  switch (operator?.at(-1)) {
    case '-':
      return isThere ? value : interpolate(word, env, filename);
    case '+':
      return isThere ? interpolate(word, env, filename) : '';
    case '?':
      if (isThere) return value;
      throw fail(
        'invalid',
        'client',
        `${filename}: required variable ${name} is missing a value: ${interpolate(word, env, filename)}`,
      );
    default:
      return value ?? '';
  }
}

/** The variables of a `.env` file. Those of `env` count in its texts, and before it. */
export function dotEnv(text: string, env: Env, filename: string): Record<string, string> {
  const out: Record<string, string> = {};
  const line =
    /^[ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*(?:=|:)[ \t]*(?:'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|([^\n]*))[ \t]*(?:#[^\n]*)?$/gm;
  for (const [, name = '', single, double, bare = ''] of text.matchAll(line)) {
    const known = { ...out, ...env };
    if (single !== undefined) out[name] = single;
    else if (double !== undefined) out[name] = interpolate(unescaped(double), known, filename);
    else out[name] = interpolate(bare.replace(/\s#.*$/, '').trim(), known, filename);
  }
  return out;
}

function unescaped(text: string): string {
  const signs: Record<string, string> = { n: '\n', r: '\r', t: '\t' };
  return text.replace(/\\([\s\S])/g, (_, char: string) => signs[char] ?? char);
}
