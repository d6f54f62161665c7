/**
 * The attestations that a build is asked for, in the words of buildx and buildctl. Pure.
 * https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-provenance.md has provenance's parameters.
 */
import { fail, nearest } from '../errors/index.ts';
import { parseBool } from '../words/index.ts';
import { fieldsOf, quoted } from './fields.ts';
import { parseSbom, type SbomOptions } from './sbom-options.ts';
import type { ProvenanceOptions } from './types.ts';

const names = [
  'mode',
  'version',
  'builder-id',
  'reproducible',
  'inline-only',
  'filename',
  'complete-materials',
  'capture-usage',
];
const optionPrefix = 'attest:';
const argPrefix = 'build-arg:BUILDKIT_ATTEST_';

/** The attestations that a build is asked for. */
interface AskedAttestations {
  provenance?: ProvenanceOptions;
  sbom?: SbomOptions;
}

/**
 * Reads the attestations that a frontend's options ask for: by `attest:TYPE`, else by the build argument
 * `BUILDKIT_ATTEST_TYPE`. Throws `invalid` for another attestation, and the errors of `parseProvenance` and `parseSbom`.
 */
export function attestationsAsked(options: Readonly<Record<string, string>>): AskedAttestations {
  const asked = new Map<string, string>();
  for (const [name, text] of Object.entries(options)) {
    const type = typeOf(name);
    if (type !== undefined && (name.startsWith(optionPrefix) || !asked.has(type))) asked.set(type, text);
  }
  for (const [type, text] of asked) {
    if (isDisabled(text)) asked.delete(type);
    else if (type !== 'provenance' && type !== 'sbom') throw unknownType(type);
  }
  const provenance = asked.get('provenance');
  const sbom = asked.get('sbom');
  return {
    provenance: provenance === undefined ? undefined : parseProvenance(provenance),
    sbom: sbom === undefined ? undefined : parseSbom(sbom),
  };
}

function typeOf(option: string): string | undefined {
  if (option.startsWith(optionPrefix)) return option.slice(optionPrefix.length).toLowerCase();
  return option.startsWith(argPrefix) ? option.slice(argPrefix.length).toLowerCase() : undefined;
}

/** Whether the text of an attestation says that there is to be none. */
export function isDisabled(text: string): boolean {
  return fieldsOf(text).some(
    ([name, value]) => name === 'disabled' && (value === undefined || parseBool(value) === true),
  );
}

function unknownType(type: string): Error {
  const near = nearest(type, ['provenance', 'sbom']);
  return fail('invalid', 'client', `unknown attestation type ${JSON.stringify(type)}`, {
    hint: near === undefined ? 'There are provenance and sbom.' : `Did you mean ${near}?`,
  });
}

/**
 * Reads the comma-separated parameters of a provenance; a missing one has its default. Throws `invalid` with the name of
 * a parameter that does not exist or has an impossible value.
 */
export function parseProvenance(text: string): ProvenanceOptions {
  const given = new Map<string, string | undefined>();
  for (const [name, value] of fieldsOf(text)) {
    if (name === '' && value === undefined) continue;
    // Clients say these to themselves.
    if (name === 'disabled' || (name === 'type' && value === 'provenance')) continue;
    given.set(name, value);
  }
  for (const name of given.keys()) if (!names.includes(name)) throw unknown(name);
  const yes = (name: string) => {
    const value = given.get(name);
    if (!given.has(name)) return false;
    const truth = value === undefined ? true : parseBool(value);
    if (truth === undefined) throw bad(name, value ?? '', ['true', 'false']);
    return truth;
  };
  return {
    mode: oneOf('mode', given.get('mode'), { max: 'max', min: 'min', full: 'max' }) ?? 'max',
    version: oneOf('version', given.get('version'), { v1: 'v1', 'v0.2': 'v0.2' }) ?? 'v1',
    builderId: given.get('builder-id') ?? '',
    reproducible: yes('reproducible'),
    inlineOnly: yes('inline-only'),
    filename: filenameOf(given.get('filename')),
    completeMaterials: yes('complete-materials'),
    captureUsage: yes('capture-usage'),
  };
}

function oneOf<T>(name: string, value: string | undefined, values: Readonly<Record<string, T>>) {
  if (value === undefined) return undefined;
  if (Object.hasOwn(values, value)) return values[value];
  throw bad(name, value, Object.keys(values));
}

/** Checks the name of the file, which stands at the top of an output. Throws `invalid` for a name that leads elsewhere. */
function filenameOf(name: string | undefined): string {
  if (name === undefined) return 'provenance.json';
  if (name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)) return name;
  throw fail('invalid', 'client', `provenance: filename=${JSON.stringify(name)} is no name of a file`);
}

function bad(name: string, value: string, values: readonly string[]): Error {
  return fail('invalid', 'client', `provenance: ${name}=${value} cannot be`, {
    hint: `It may be ${values.join(' or ')}.`,
  });
}

function unknown(name: string): Error {
  const near = nearest(name, names);
  return fail('invalid', 'client', `provenance has no parameter ${JSON.stringify(name)}`, {
    hint: near === undefined ? `Parameters: ${names.join(', ')}.` : `Did you mean ${near}?`,
  });
}

/** Writes options in the words from which `parseProvenance` reads the same options. */
export function formatProvenance(options: Partial<ProvenanceOptions>): string {
  const { mode, version, builderId, reproducible, inlineOnly, filename, completeMaterials, captureUsage } =
    options;
  const values = {
    mode,
    version,
    'builder-id': builderId || undefined,
    reproducible,
    'inline-only': inlineOnly,
    filename,
    'complete-materials': completeMaterials,
    'capture-usage': captureUsage,
  };
  return Object.entries(values)
    .flatMap(([name, value]) => (value === undefined ? [] : [quoted(`${name}=${value}`)]))
    .join(',');
}
