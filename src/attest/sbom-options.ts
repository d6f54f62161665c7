/**
 * The parameters of a bill of materials, in the words of buildx and buildctl. Pure.
 * https://github.com/moby/buildkit/blob/master/docs/attestations/sbom.md
 */
import { fail, nearest } from '../errors/index.ts';
import { normalizeName } from '../oci/index.ts';
import type { SbomFormat } from '../sbom/index.ts';
import { durationMs } from '../words/index.ts';
import { fieldsOf, quoted } from './fields.ts';

/** The parameters of a bill of materials. */
export interface SbomOptions {
  /** The image of a scanner; undefined: the scanner that is built in. */
  generator?: string;
  /** The form of the bill; the built-in scanner's alone. */
  format: SbomFormat;
  /** The time that the image may take, in ms. */
  timeoutMs: number;
  /** The parameters of the image: `NAME` becomes its variable `BUILDKIT_SCAN_NAME`. */
  parameters: Readonly<Record<string, string>>;
}

const formats: Readonly<Record<string, SbomFormat>> = { spdx: 'spdx', cyclonedx: 'cyclonedx' };
const defaultTimeoutMs = 30 * 60_000;
const maxTimeoutMs = 24 * 3600_000;

/**
 * Reads the comma-separated parameters of a bill of materials: `generator=IMAGE` with `timeout=10m` and the image's own,
 * or `format=spdx|cyclonedx`. Throws `invalid` with the name of a parameter that does not exist or cannot be.
 */
export function parseSbom(text: string): SbomOptions {
  const given = new Map<string, string>();
  for (const [name, value] of fieldsOf(text)) {
    if (name === '' && value === undefined) continue;
    // Clients say these to themselves.
    if (name === 'disabled' || (name === 'type' && value === 'sbom')) continue;
    given.set(name, value ?? '');
  }
  const image = given.get('generator');
  if (image === undefined) return builtIn(given);
  if (image === '')
    throw bad('generator is empty', 'Give it an image, or leave it out for the built-in scanner.');
  given.delete('generator');
  const timeout = given.get('timeout');
  given.delete('timeout');
  const timeoutMs = timeout === undefined ? defaultTimeoutMs : durationMs(timeout);
  if (timeoutMs === undefined || !(timeoutMs > 0 && timeoutMs <= maxTimeoutMs))
    throw bad(`timeout=${timeout} cannot be`, 'Write it as 90s or 10m.');
  for (const [name, value] of given) {
    if (!`${name}${value}`.includes('\0') && name !== '') continue;
    throw bad(`${JSON.stringify(name)} is no name of a variable`, 'It becomes BUILDKIT_SCAN_NAME.');
  }
  return {
    generator: normalizeName(image),
    format: 'spdx',
    timeoutMs,
    parameters: Object.fromEntries(given),
  };
}

function builtIn(given: ReadonlyMap<string, string>): SbomOptions {
  const text = given.get('format') ?? 'spdx';
  if (!Object.hasOwn(formats, text)) throw bad(`format=${text} cannot be`, 'It may be spdx or cyclonedx.');
  for (const name of given.keys()) {
    if (name === 'format') continue;
    const near = nearest(name, ['format', 'generator']);
    throw bad(
      `the built-in scanner has no parameter ${JSON.stringify(name)}`,
      near === undefined ? 'It has format; others need generator=IMAGE.' : `Did you mean ${near}?`,
    );
  }
  return { format: formats[text] as SbomFormat, timeoutMs: defaultTimeoutMs, parameters: {} };
}

function bad(message: string, hint: string): Error {
  return fail('invalid', 'client', `sbom: ${message}`, { hint });
}

/** Writes options in the words from which `parseSbom` reads the same options. */
export function formatSbom({ generator, format, timeoutMs, parameters = {} }: Partial<SbomOptions>): string {
  const values = {
    generator,
    format: generator === undefined ? format : undefined,
    timeout: generator === undefined || timeoutMs === undefined ? undefined : `${timeoutMs}ms`,
    ...parameters,
  };
  return Object.entries(values)
    .flatMap(([name, value]) => (value === undefined ? [] : [quoted(`${name}=${value}`)]))
    .join(',');
}
