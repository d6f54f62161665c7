/** Reads small JSON files of a tree. */
import { fail } from '../../errors/index.ts';
import { readFileIn } from '../../fs/index.ts';
import { jsonExcess } from '../../oci/index.ts';
import type { Found } from '../types.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON that somebody else wrote
export type Json = any;

/** How deep and how large JSON may be: parsed, it takes many times its text. */
const most = { depth: 200, values: 5_000_000 };

/** The value of a JSON file. Throws `invalid` for text that is no JSON or no object, and for more than `maxBytes` or 5,000,000 values. */
export function jsonIn({ view, entry, spend }: Found, maxBytes: number): Json {
  spend(entry.size);
  const text = readFileIn(view, entry.path, maxBytes)?.toString('utf8') ?? '';
  const excess = jsonExcess(text, most);
  if (excess !== undefined)
    throw fail('exhausted', 'file', `its JSON has more ${excess} than any that tells of packages`);
  let value: Json;
  try {
    value = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch {
    throw fail('invalid', 'file', 'it is no JSON');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw fail('invalid', 'file', 'its JSON is no object');
}

/** A text; undefined for anything else and for ''. */
export function textIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
