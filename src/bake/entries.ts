/** Entries as texts (`type=registry,ref=app:cache`) and as objects, each made of the other. */
import { fail } from '../errors/index.ts';
import { csvFields, csvLine, parseBool } from '../words/index.ts';
import type { Entry, SshEntry } from './types.ts';

/** The attributes of a target that are lists of entries. */
export type EntryKind = 'attest' | 'cache-from' | 'cache-to' | 'output' | 'secret' | 'policy';

/** Reads an entry. Throws `invalid`. */
export function parseEntry(kind: EntryKind, text: string): Entry {
  const fields = csvFields(text, (why) =>
    fail('invalid', 'client', `invalid ${kind} ${JSON.stringify(text)}: ${why}`),
  );
  const [first = ''] = fields;
  if (fields.length === 1 && !first.includes('=')) {
    if (kind === 'cache-from' || kind === 'cache-to') return { type: 'registry', ref: first };
    if (kind === 'output') return { type: first === '-' ? 'tar' : 'local', dest: first };
  }
  const entry: Record<string, string | boolean> = {};
  for (const field of fields) {
    const at = field.indexOf('=');
    if (at < 1)
      throw fail(
        'invalid',
        'client',
        `invalid value ${field} of ${kind} ${JSON.stringify(text)}: want key=value`,
      );
    const key = field.slice(0, at).trim();
    entry[key.toLowerCase()] = field.slice(at + 1);
  }
  return normalEntry(kind, entry);
}

/** Checks an entry, and gives it the form in which entries are compared and printed. Throws `invalid`. */
export function normalEntry(kind: EntryKind, given: Entry): Entry {
  const entry = { ...given };
  if (kind === 'secret') {
    const { type, source, ...rest } = entry;
    const secret: Record<string, string | boolean> = source === undefined ? rest : { src: source, ...rest };
    if (type === 'env' && secret.env === undefined && secret.src !== undefined) {
      secret.env = secret.src;
      delete secret.src;
    }
    for (const key of Object.keys(secret)) {
      if (!['id', 'src', 'env'].includes(key))
        throw fail('invalid', 'client', `unexpected key '${key}' in a secret`);
    }
    return secret;
  }
  if (entry.disabled !== undefined) {
    const isDisabled = typeof entry.disabled === 'boolean' ? entry.disabled : parseBool(entry.disabled);
    if (isDisabled === undefined)
      throw fail('invalid', 'client', `invalid value disabled=${entry.disabled} of ${kind}`);
    delete entry.disabled;
    if (isDisabled) entry.disabled = true;
  }
  if (kind !== 'policy' && !entry.type) {
    throw fail('invalid', 'client', `type required for ${JSON.stringify(entryText(entry))} in ${kind}`);
  }
  return entry;
}

/** An entry as text, its type first. */
export function entryText({ type, ...rest }: Entry): string {
  const names = Object.keys(rest).sort();
  return csvLine([
    ...(type === undefined ? [] : [`type=${type}`]),
    ...names.map((name) => `${name}=${rest[name]}`),
  ]);
}

/** Reads `default`, `id`, `id=path[,path]`. */
export function parseSsh(text: string): SshEntry {
  const at = text.indexOf('=');
  return at < 0 ? { id: text } : { id: text.slice(0, at), paths: text.slice(at + 1).split(',') };
}

/** An ssh entry as text. */
export function sshText({ id, paths = [] }: SshEntry): string {
  return paths.length === 0 ? id : `${id}=${paths.join(',')}`;
}

/** `true`, `false` or attributes, as `--provenance` and `--sbom` take them, as an attestation's text. */
export function attestText(type: 'provenance' | 'sbom', text: string): string {
  const wanted = parseBool(text);
  return wanted === undefined ? `type=${type},${text}` : `type=${type},disabled=${!wanted}`;
}
