/** Functions of texts. */
import { Regex, type RegexMatch } from '../../patterns/index.ts';
import type { HclFunction, Value } from '../types.ts';
import { fn } from './arguments.ts';
import { formatList, formatText } from './format.ts';

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
/** The characters as a reader sees them. */
const characters = (text: string): string[] => [...segmenter.segment(text)].map(({ segment }) => segment);

function substring(text: string, offset: number, length: number): string {
  const all = characters(text);
  const start = offset < 0 ? Math.max(0, all.length + offset) : offset;
  return all.slice(start, length < 0 ? undefined : start + length).join('');
}

function title(text: string): string {
  return text.replace(
    /(^|[\s\p{P}\p{S}])(\p{L})/gu,
    (_, before: string, letter: string) => before + letter.toUpperCase(),
  );
}

function trim(text: string, cutset: string): string {
  const set = new Set(cutset);
  const all = [...text];
  let from = 0;
  let to = all.length;
  while (from < to && set.has(all[from] as string)) from++;
  while (to > from && set.has(all[to - 1] as string)) to--;
  return all.slice(from, to).join('');
}

/** What a match gives: its groups by name, or by number, or the whole where there are none. */
function captured({ groups, names }: RegexMatch): Value {
  if (names.size > 0) return new Map([...names].map(([name, i]) => [name, groups[i] ?? null]));
  return groups.length > 1 ? groups.slice(1).map((group) => group ?? null) : (groups[0] ?? '');
}

function* matches(pattern: string, text: string): Generator<RegexMatch & { start: number }> {
  const regex = new Regex(pattern);
  for (let at = 0; at <= text.length; ) {
    const match = regex.exec(text.slice(at));
    if (match === undefined) return;
    const start = at + match.index;
    yield { ...match, start };
    at = start + Math.max(1, (match.groups[0] ?? '').length);
  }
}

function regexReplace(text: string, pattern: string, replacement: string): string {
  let out = '';
  let end = 0;
  for (const { start, groups, names } of matches(pattern, text)) {
    const filled = replacement.replace(
      /\$(?:\{(\w+)\}|(\w+)|(\$))/g,
      (_, braced?: string, bare?: string, dollar?: string) => {
        if (dollar !== undefined) return '$';
        const name = braced ?? bare ?? '';
        return groups[/^\d+$/.test(name) ? Number(name) : (names.get(name) ?? -1)] ?? '';
      },
    );
    out += text.slice(end, start) + filled;
    end = start + (groups[0] ?? '').length;
  }
  return out + text.slice(end);
}

function firstMatch(pattern: string, text: string): Value {
  const match = new Regex(pattern).exec(text);
  if (match === undefined) throw new Error('pattern did not match any part of the given string');
  return captured(match);
}

/** The last element of a path, as Go's path.Base has it. */
function baseName(path: string): string {
  if (path === '') return '.';
  const trimmed = path.replace(/\/+$/, '');
  return trimmed === '' ? '/' : trimmed.slice(trimmed.lastIndexOf('/') + 1);
}

/** All but the last element of a path, cleaned, as Go's path.Dir has it. */
function dirName(path: string): string {
  const dir = path.slice(0, path.lastIndexOf('/') + 1);
  const rooted = dir.startsWith('/');
  const out: string[] = [];
  for (const part of dir.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') out.push(part);
    else if (out.length > 0 && out.at(-1) !== '..') out.pop();
    else if (!rooted) out.push('..');
  }
  return (rooted ? '/' : '') + out.join('/') || '.';
}

export const stringFunctions: Record<string, HclFunction> = {
  basename: fn('path', (a) => baseName(a.text(0))),
  byteslen: fn('buf', (a) => Buffer.byteLength(a.text(0))),
  bytesslice: fn('buf, offset, length', (a) =>
    Buffer.from(a.text(0))
      .subarray(a.whole(1), a.whole(1) + a.whole(2))
      .toString(),
  ),
  chomp: fn('str', (a) => a.text(0).replace(/[\r\n]+$/, '')),
  dirname: fn('path', (a) => dirName(a.text(0))),
  format: fn('format, args…', (a) => formatText(a.text(0), a.all.slice(1))),
  formatlist: fn('format, args…', (a) => formatList(a.text(0), a.all.slice(1))),
  indent: fn('spaces, str', (a) => a.text(1).replaceAll('\n', `\n${' '.repeat(Math.min(1000, a.whole(0)))}`)),
  join: fn('separator, lists…', (a) =>
    a.all
      .slice(1)
      .flatMap((_, i) => a.texts(i + 1))
      .join(a.text(0)),
  ),
  lower: fn('str', (a) => a.text(0).toLowerCase()),
  regex: fn('pattern, string', (a) => firstMatch(a.text(0), a.text(1))),
  regex_replace: fn('string, pattern, replace', (a) => regexReplace(a.text(0), a.text(1), a.text(2))),
  regexall: fn('pattern, string', (a) => [...matches(a.text(0), a.text(1))].map(captured)),
  replace: fn('str, substr, replace', (a) => a.text(0).replaceAll(a.text(1), () => a.text(2))),
  reverse: fn('str', (a) => characters(a.text(0)).reverse().join('')),
  sanitize: fn('name', (a) =>
    [...a.text(0)].map((char) => (/[A-Za-z0-9_-]/.test(char) ? char : '_')).join(''),
  ),
  split: fn('separator, str', (a) => a.text(1).split(a.text(0))),
  strlen: fn('str', (a) => characters(a.text(0)).length),
  substr: fn('str, offset, length', (a) => substring(a.text(0), a.whole(1), a.whole(2))),
  title: fn('str', (a) => title(a.text(0))),
  trim: fn('str, cutset', (a) => trim(a.text(0), a.text(1))),
  trimprefix: fn('str, prefix', (a) =>
    a.text(0).startsWith(a.text(1)) ? a.text(0).slice(a.text(1).length) : a.text(0),
  ),
  trimspace: fn('str', (a) => a.text(0).trim()),
  trimsuffix: fn('str, suffix', (a) =>
    a.text(0).endsWith(a.text(1)) ? a.text(0).slice(0, a.text(0).length - a.text(1).length) : a.text(0),
  ),
  upper: fn('str', (a) => a.text(0).toUpperCase()),
};
