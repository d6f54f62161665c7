/**
 * Mends what the build checks find, where that is safe: what is built stays the same, and the rest of the file stays as
 * it is, byte for byte. Pure.
 */
import type { Base, Dockerfile, Instruction, Stage } from '../ast.ts';
import { expandWord } from '../expand/expand.ts';
import { parseDockerfile } from '../parse/parse.ts';
import { exposedPorts } from '../parse/ports.ts';
import type { RuleName } from './rules.ts';

/** A finding, as far as it is looked at here. */
interface Found {
  rule: string;
  message: string;
  location: { ranges: readonly { start: { line: number }; end: { line: number } }[] };
}

/** The lines of one instruction, without their ends: a fix returns them anew, undefined: it cannot mend this one. */
type Fix = (lines: readonly string[], message: string) => string[] | undefined;

/**
 * The rules that have a safe fix. All others need somebody who knows what is meant: another name, a shell or none, an
 * image's label.
 */
const fixes: Partial<Record<RuleName, Fix>> = {
  ConsistentInstructionCasing: firstLine((line, message) => {
    const lower = message.endsWith('(lowercase)');
    return line.replace(/^\s*[A-Za-z]+/, (word) => (lower ? word.toLowerCase() : word.toUpperCase()));
  }),
  FromAsCasing: only((line) => {
    const [, from = '', before = '', as = '', rest = ''] =
      /^(\s*from)(\s.*\s)(as)(\s+\S+\s*)$/i.exec(line) ?? [];
    const cased = /[a-z]/.test(from) ? as.toLowerCase() : as.toUpperCase();
    return `${from}${before}${cased}${rest}`;
  }),
  StageNameCasing: only((line) =>
    line.replace(
      /^(\s*from\s.*\sas\s+)([\w.-]+)(\s*)$/i,
      (_, before: string, name: string, end: string) => `${before}${name.toLowerCase()}${end}`,
    ),
  ),
  RedundantTargetPlatform: only((line) =>
    line.replace(/^(\s*from\s+)--platform=("?)\$(?:TARGETPLATFORM|\{TARGETPLATFORM\})\2\s+/i, '$1'),
  ),
  LegacyKeyValueFormat: only((line) =>
    // Quotes and escapes mean other things in the two forms.
    line.replace(
      /^(\s*(?:env|label)\s+)([\w.-]+)[ \t]+([^\s"'\\`](?:[^"'\\`]*[^\s"'\\`])?)(\s*)$/i,
      (_, before: string, key: string, value: string, end: string) =>
        `${before}${key}=${/\s/.test(value) ? `"${value}"` : value}${end}`,
    ),
  ),
  ExposeProtoCasing: only((line, message) => withPort(line, message, (port) => port.toLowerCase())),
  ExposeInvalidFormat: only((line, message) =>
    withPort(line, message, (port) => port.slice(port.lastIndexOf(':') + 1)),
  ),
  NoEmptyContinuation: (lines) => lines.filter((line) => line.trim() !== ''),
};

/** A fix of an instruction's first line. */
function firstLine(mend: (line: string, message: string) => string): Fix {
  return ([first = '', ...rest], message) => [mend(first, message), ...rest];
}

/** A fix of an instruction that has one line only. */
function only(mend: (line: string, message: string) => string): Fix {
  return (lines, message) => (lines.length === 1 ? [mend(lines[0] as string, message)] : undefined);
}

/** The line with the port that the message names in another form. One that comes of a variable is not in the line. */
function withPort(line: string, message: string, mend: (port: string) => string): string {
  const port = /'([^']*)'/.exec(message)?.[1];
  return line.replace(/\S+/g, (word) => (word === port ? mend(word) : word));
}

/** The mended text, and the findings that were mended. */
interface Fixed<F> {
  text: string;
  fixed: F[];
}

/**
 * Mends the findings of a Dockerfile that can be. A text in which they are not any more is returned as it is. Line ends
 * stay what they are.
 *
 *     fixDockerfile('FROM a as b\n', warnings).text // 'FROM a AS b\n'
 */
export function fixDockerfile<F extends Found>(text: string, findings: readonly F[]): Fixed<F> {
  const fixing = fixingOf(text);
  let now = text;
  const fixed: F[] = [];
  // From the end on: a fix may take lines away.
  const order = [...findings].sort((a, b) => lineOf(b) - lineOf(a));
  for (const finding of order) {
    const next = fixing?.(now, finding);
    if (next === undefined) continue;
    now = next;
    fixed.unshift(finding);
  }
  return { text: now, fixed };
}

/** A part of a text, from one place up to and without the other, and the text that it becomes. */
export interface Replacement {
  start: Position;
  end: Position;
  text: string;
}

/** A line, and a column in UTF-16 code units, both from 1. */
interface Position {
  line: number;
  column: number;
}

/** What would mend each finding of a text by itself, in their order; undefined for one that is not mended. */
export function replacementsOf(text: string, findings: readonly Found[]): (Replacement | undefined)[] {
  const fixing = fixingOf(text);
  return findings.map((finding) => {
    const next = fixing?.(text, finding);
    return next === undefined ? undefined : replacementOf(text, next);
  });
}

/** The one part that differs between two texts. */
function replacementOf(before: string, after: string): Replacement {
  const most = Math.min(before.length, after.length);
  let same = 0;
  while (same < most && before[same] === after[same]) same++;
  let sameEnd = 0;
  while (sameEnd < most - same && before.at(-1 - sameEnd) === after.at(-1 - sameEnd)) sameEnd++;
  return {
    start: positionOf(before, same),
    end: positionOf(before, before.length - sameEnd),
    text: after.slice(same, after.length - sameEnd),
  };
}

function positionOf(text: string, at: number): Position {
  const before = text.slice(0, at);
  return { line: before.split('\n').length, column: at - before.lastIndexOf('\n') };
}

/**
 * A function that mends one finding of a text, which may have been mended of others before; it returns undefined when
 * that cannot be done so that the same is built. Undefined for a text that is no Dockerfile.
 */
function fixingOf(text: string): ((now: string, finding: Found) => string | undefined) | undefined {
  const before = parsed(text);
  if (before === undefined) return undefined;
  const meant = meaning(before);
  return (now, finding) => {
    const fix = fixes[finding.rule as RuleName];
    const span = fix && spanOf(before, finding);
    if (fix === undefined || span === undefined) return undefined;
    const next = mended(now, span, fix, finding.message);
    if (next === undefined || next === now) return undefined;
    const after = parsed(next);
    return after !== undefined && meaning(after) === meant ? next : undefined;
  };
}

const lineOf = ({ location }: Found) => location.ranges[0]?.start.line ?? 0;

function parsed(text: string): Dockerfile | undefined {
  try {
    return parseDockerfile(text, 'Dockerfile');
  } catch {
    return undefined;
  }
}

interface Span {
  first: number;
  last: number;
}

/** The lines of the instruction that a finding is about, without the documents behind them. */
function spanOf({ stages, globalArgs }: Dockerfile, finding: Found): Span | undefined {
  const line = lineOf(finding);
  const all: Base[] = [...globalArgs, ...stages.flatMap(({ from, instructions }) => [from, ...instructions])];
  const at = all.find(({ range }) => range.start.line <= line && line <= range.end.line);
  if (at === undefined) return undefined;
  const { start, end } = at.range;
  // This finding names the instruction's last line.
  return { first: start.line, last: finding.rule === 'NoEmptyContinuation' ? line : end.line };
}

function mended(text: string, { first, last }: Span, fix: Fix, message: string): string | undefined {
  const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
  const old = lines.slice(first - 1, last);
  const ends = old.map((line) => /\r?\n?$/.exec(line)?.[0] ?? '');
  const bare = old.map((line, i) => line.slice(0, line.length - (ends[i] as string).length));
  const made = fix(bare, message);
  if (made === undefined) return undefined;
  // Where lines were taken away, those that are left keep their own ends.
  let from = 0;
  const whole = made.map((line) => {
    const at = made.length === bare.length ? from : bare.indexOf(line, from);
    from = at + 1;
    return line + ends[at];
  });
  return [...lines.slice(0, first - 1), ...whole, ...lines.slice(last)].join('');
}

/** What a file says, in a form that is the same before and after a fix. */
function meaning({ directives, globalArgs, stages }: Dockerfile): string {
  const { escape: esc } = directives;
  const word = (text: string) => expandWord(text, (name) => `\0${name}\0`, { escape: esc }).value;
  const plain = ({ range: _, original: __, keyword: ___, comments: ____, ...rest }: Base & object) => rest;
  const instruction = (each: Instruction) => {
    if (each.kind === 'ENV' || each.kind === 'LABEL') {
      return { kind: each.kind, pairs: each.pairs.map(({ key, value }) => [word(key), word(value)]) };
    }
    if (each.kind === 'EXPOSE') {
      return { kind: each.kind, ports: each.values.map((value) => portsOf(value, each)) };
    }
    if (each.kind === 'ARG') {
      return { kind: each.kind, args: each.args.map(({ name, default: value }) => [name, value]) };
    }
    return plain(each);
  };
  const stage = ({ name, base, platform, instructions }: Stage) => ({
    name,
    base,
    platform: /^"?\$\{?TARGETPLATFORM\}?"?$/.test(platform ?? '') ? '' : (platform ?? ''),
    instructions: instructions.map(instruction),
  });
  return JSON.stringify([globalArgs.map(instruction), stages.map(stage)]);
}

function portsOf(value: string, { range }: Base): readonly string[] {
  if (value.includes('$')) return [value];
  try {
    return exposedPorts([value], range).ports;
  } catch {
    return [value];
  }
}
