/** Command-line flags from a table: parsed on Node's own parser, with docker's conventions on top. */
import { parseArgs } from 'node:util';
import { fail, nearest } from '../errors/index.ts';
import { parseBool } from '../words/index.ts';

interface FlagSpec {
  /** `bool` also takes `--flag=false`; `word` may stand alone (its value is ''), or has `=WORD`; `list` may be repeated. */
  type: 'bool' | 'word' | 'string' | 'list';
  short?: string;
  /** Placeholder in the help: `NAME=VALUE`. */
  value?: string;
  help: string;
  /** Left out of the help: accepted for scripts that pass it. */
  hidden?: boolean;
}

export type FlagTable = Record<string, FlagSpec>;

export type FlagValues<T extends FlagTable> = {
  [K in keyof T]: T[K]['type'] extends 'list'
    ? string[]
    : T[K]['type'] extends 'bool'
      ? boolean | undefined
      : string | undefined;
};

/**
 * Splits arguments into flags and operands. A list flag that was not given is []. Throws `invalid` (hop `client`) on
 * unknown flags, naming the nearest known one, on missing values and on values that are not true or false.
 */
export function parseFlags<const T extends FlagTable>(
  argv: readonly string[],
  table: T,
): { flags: FlagValues<T>; args: string[] } {
  const options = Object.fromEntries(
    Object.entries(table).map(([name, spec]) => [
      name,
      {
        type: standsAlone(spec) ? ('boolean' as const) : ('string' as const),
        multiple: true,
        ...(spec.short === undefined ? {} : { short: spec.short }),
      },
    ]),
  );
  const { tokens } = parseArgs({
    args: joinDashes(argv, table),
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const flags: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(table)) if (spec.type === 'list') flags[name] = [];
  const args: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') args.push(token.value);
    if (token.kind !== 'option') continue;
    const spec = Object.hasOwn(table, token.name) ? table[token.name] : undefined;
    if (spec === undefined) throw unknownFlag(token.rawName, table);
    if (spec.type === 'bool') flags[token.name] = boolValue(token.rawName, token.value);
    else if (spec.type === 'word') flags[token.name] = token.value ?? '';
    else if (token.value === undefined) {
      throw fail('invalid', 'client', `flag needs an argument: ${token.rawName}`);
    } else if (spec.type === 'list') (flags[token.name] as string[]).push(token.value);
    else flags[token.name] = token.value;
  }
  return { flags: flags as FlagValues<T>, args };
}

/** Node's parser takes `-` or `-x` after a string flag for a flag; docker takes it as the value (`-f -`, `-o -`). */
function joinDashes(argv: readonly string[], table: FlagTable): string[] {
  const out: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] as string;
    if (arg === '--') return [...out, ...argv.slice(i)];
    const name = arg.startsWith('--')
      ? arg.slice(2)
      : /^-[^-]$/.test(arg)
        ? Object.keys(table).find((key) => table[key]?.short === arg[1])
        : undefined;
    const spec = name !== undefined && Object.hasOwn(table, name) ? table[name] : undefined;
    const next = argv[i + 1];
    if (spec !== undefined && !standsAlone(spec) && next?.startsWith('-')) {
      out.push(`--${name}=${next}`);
      i++;
    } else out.push(arg);
  }
  return out;
}

function boolValue(name: string, value: string | undefined): boolean {
  const on = value === undefined ? true : parseBool(value);
  if (on !== undefined) return on;
  throw fail(
    'invalid',
    'client',
    `invalid argument ${JSON.stringify(value)} for ${name}: want true or false`,
  );
}

function unknownFlag(raw: string, table: FlagTable) {
  const like = nearest(raw.replace(/^-+/, ''), Object.keys(table));
  return fail('invalid', 'client', `unknown flag: ${raw}`, {
    hint: like === undefined ? 'Run the command with --help to see its flags.' : `Did you mean --${like}?`,
  });
}

/** The flags of a table as help text, one per line. */
export function flagHelp(table: FlagTable): string {
  const rows = Object.entries(table)
    .filter(([, spec]) => !spec.hidden)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, spec]) => {
      const short = spec.short === undefined ? '    ' : `-${spec.short}, `;
      const value = valueHelp(spec);
      return [`  ${short}--${name}${value}`, spec.help] as const;
    });
  const width = Math.max(0, ...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, help]) => `${left.padEnd(width)}${help}`).join('\n');
}

function valueHelp({ type, value = 'VALUE' }: FlagSpec): string {
  if (type === 'bool') return '';
  return type === 'word' ? `[=${value}]` : ` ${value}`;
}

function standsAlone({ type }: FlagSpec): boolean {
  return type === 'bool' || type === 'word';
}
