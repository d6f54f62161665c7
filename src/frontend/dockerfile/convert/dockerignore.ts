/** `.dockerignore`: https://docs.docker.com/build/concepts/context/#dockerignore-files */
import { posix } from 'node:path';

/** The patterns of a `.dockerignore` file: comments and blank lines dropped, paths cleaned, `!` kept in front. */
export function parseDockerignore(text: string): string[] {
  const patterns: string[] = [];
  for (const line of text.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    let pattern = line.trim();
    if (pattern === '') continue;
    const exception = pattern.startsWith('!');
    if (exception) pattern = pattern.slice(1).trim();
    if (pattern !== '') {
      pattern = posix.normalize(pattern);
      if (pattern.length > 1) pattern = pattern.replace(/\/$/, '').replace(/^\//, '');
    }
    patterns.push(exception ? `!${pattern}` : pattern);
  }
  return patterns;
}

/**
 * Whether a COPY source is certainly left out of the context: some pattern matches it or a folder above it. Lists
 * with exceptions are not judged, since a folder may be left out and a file in it not.
 */
export function isIgnored(path: string, patterns: readonly string[]): boolean {
  if (patterns.length === 0 || patterns.some((pattern) => pattern.startsWith('!'))) return false;
  const clean = posix.normalize(path).replace(/\/$/, '');
  if (clean === '.' || clean === '' || clean === '/') {
    return patterns.some((pattern) => pattern === '*' || pattern === '**' || pattern === '**/*');
  }
  const parts = clean.replace(/^\//, '').split('/');
  const regexes = patterns.map(toRegExp).filter((regex) => regex !== undefined);
  return parts.some((_, i) => {
    const parent = parts.slice(0, i + 1).join('/');
    return regexes.some((regex) => regex.test(parent));
  });
}

/** `*` and `?` stay within a path part, `**` crosses them; undefined for a malformed pattern. */
function toRegExp(pattern: string): RegExp | undefined {
  let out = '';
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i] ?? '';
    if (char === '*' && pattern[i + 1] === '*') {
      i++;
      if (pattern[i + 1] === '/') i++;
      out += i + 1 >= pattern.length ? '.*' : '(?:.*/)?';
    } else if (char === '*') out += '[^/]*';
    else if (char === '?') out += '[^/]';
    else if (char === '\\' && i + 1 < pattern.length) out += quoted(pattern[++i] ?? '');
    else if (char === '[') {
      const end = pattern.indexOf(']', i + 2);
      if (end < 0) return undefined;
      out += pattern.slice(i, end + 1);
      i = end;
    } else out += quoted(char);
  }
  try {
    return new RegExp(`^${out}$`, 's');
  } catch {
    return undefined;
  }
}

function quoted(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
