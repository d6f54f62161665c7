/** The comma-separated parameters of an attestation. Pure. */
import { fail } from '../errors/index.ts';
import { csvFields } from '../words/index.ts';

/** Reads the parameters; a value is undefined where there is no `=`. Throws `invalid` for a broken quotation. */
export function fieldsOf(text: string): [name: string, value: string | undefined][] {
  const bad = (why: string) => fail('invalid', 'client', `attestation ${JSON.stringify(text)}: ${why}`);
  return csvFields(text, bad).map((field) => {
    const at = field.indexOf('=');
    return at < 0 ? [field, undefined] : [field.slice(0, at), field.slice(at + 1)];
  });
}

/** Writes one parameter so that `fieldsOf` reads it as one. */
export function quoted(field: string): string {
  return /[",\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}
