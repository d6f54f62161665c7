/** Reads the flags of an instruction that the instruction takes. */
import { invalid } from './errors.ts';
import { didYouMean, suggest } from './suggest.ts';

type FlagType = 'bool' | 'string' | 'strings';

type FlagValue<T extends FlagType> = T extends 'bool' ? boolean : T extends 'string' ? string : string[];

/** Flags by name. A flag that is not written is undefined; a list is then empty. */
type Flags<S extends Record<string, FlagType>> = {
  [K in keyof S]: S[K] extends 'strings' ? string[] : FlagValue<S[K]> | undefined;
};

/** Reads `--name[=value]` words. Throws `invalid`: unknown flags (with the nearest one), repeats, missing or bad values. */
export function parseFlags<const S extends Record<string, FlagType>>(words: string[], spec: S): Flags<S> {
  const values = new Map<string, boolean | string | string[]>();
  const names = Object.keys(spec);
  for (const name of names) if (spec[name] === 'strings') values.set(name, []);
  for (const word of words) {
    const equals = word.indexOf('=');
    const written = equals < 0 ? word : word.slice(0, equals);
    const value = equals < 0 ? undefined : word.slice(equals + 1);
    const name = written.slice(2);
    const type = Object.hasOwn(spec, name) ? spec[name] : undefined;
    if (type === undefined) {
      const near = suggest(name, names);
      const all = names.map((n) => `--${n}`).join(', ');
      throw invalid(
        `unknown flag: ${written}${didYouMean(name, names)}`,
        near !== undefined
          ? `Write --${near}.`
          : all === ''
            ? 'This instruction takes no flags.'
            : `Known flags: ${all}.`,
      );
    }
    const list = values.get(name);
    if (list !== undefined && !Array.isArray(list))
      throw invalid(`duplicate flag specified: ${written}`, `Give ${written} once.`);
    if (type === 'bool') {
      if (value === '')
        throw invalid(`missing a value on flag: ${written}`, `Write ${written} or ${written}=true.`);
      const lower = value?.toLowerCase() ?? 'true';
      if (lower !== 'true' && lower !== 'false')
        throw invalid(`expecting boolean value for flag ${written}, not: ${value}`, 'Write true or false.');
      values.set(name, lower === 'true');
      continue;
    }
    if (value === undefined)
      throw invalid(`missing a value on flag: ${written}`, `Write ${written}=<value>.`);
    if (Array.isArray(list)) list.push(value);
    else values.set(name, value);
  }
  return Object.fromEntries(names.map((name) => [name, values.get(name)])) as Flags<S>;
}
