/** `type=local,dest=out` and its like. */
import { fail } from '../errors/index.ts';
import { csvFields } from '../words/index.ts';

/** The fields of a flag's value. Throws `invalid` (hop `client`). */
export function splitCsv(text: string): string[] {
  return csvFields(text, (why) => fail('invalid', 'client', `${text}: ${why}`));
}

/** `a=1,b=2` as a map with lower-case keys; a field without `=` throws `invalid` unless `bare` gives it a key. */
export function parsePairs(
  text: string,
  flag: string,
  bare?: (field: string) => [string, string],
): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const field of splitCsv(text)) {
    const at = field.indexOf('=');
    if (at > 0) pairs.set(field.slice(0, at).trim().toLowerCase(), field.slice(at + 1));
    else if (bare !== undefined) pairs.set(...bare(field));
    else
      throw fail('invalid', 'client', `invalid value ${JSON.stringify(field)} for --${flag}: want key=value`);
  }
  return pairs;
}
