/** Modes as in chmod(1): octal, or symbolic with an umask of 0. */
import { fail } from '../errors/index.ts';

/** Computes the new permission bits (0 … 0o7777) of a file that has `mode`. */
export type ModeChange = (mode: number, isDir: boolean) => number;

interface Clause {
  who: string;
  op: string;
  perms: string;
}

const bits: Record<string, number> = { r: 0o444, w: 0o222, x: 0o111, s: 0o6000, t: 0o1000 };
const masks: Record<string, number> = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 };

/** The mode when the text is octal, else undefined. Throws `invalid` past 7777. */
export function octalMode(text: string): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined;
  const mode = /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
  if (mode <= 0o7777) return mode;
  throw badMode(text);
}

/** Parses a mode of either form. Throws `invalid`. */
export function parseMode(text: string): ModeChange {
  const octal = octalMode(text);
  if (octal !== undefined) return () => octal;
  const clauses: Clause[] = [];
  for (const part of text.split(',')) {
    const match = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(part);
    if (match === null) throw badMode(text);
    for (const [, op = '', perms = ''] of match[2]!.matchAll(/([-+=])([^-+=]*)/g)) {
      clauses.push({ who: match[1] || 'a', op, perms });
    }
  }
  return (mode, isDir) => clauses.reduce((now, clause) => apply(now, clause, isDir), mode);
}

function apply(mode: number, { who, op, perms }: Clause, isDir: boolean): number {
  let mask = 0;
  for (const one of who) mask |= masks[one]!;
  const value = permBits(mode, perms, isDir) & mask;
  if (op === '+') return mode | value;
  if (op === '-') return mode & ~value;
  return (mode & ~mask) | value;
}

function permBits(mode: number, perms: string, isDir: boolean): number {
  if (/^[ugo]$/.test(perms)) {
    const shift = perms === 'u' ? 6 : perms === 'g' ? 3 : 0;
    return ((mode >> shift) & 7) * 0o111;
  }
  let value = 0;
  for (const perm of perms) {
    if (perm === 'X') value |= isDir || (mode & 0o111) !== 0 ? 0o111 : 0;
    else value |= bits[perm]!;
  }
  return value;
}

function badMode(text: string): Error {
  return fail('invalid', 'file', `invalid chmod parameter: '${text}'`, {
    hint: 'Write octal digits between 0 and 7777, or a symbolic mode such as u=rwX,go=rX.',
  });
}
