/** What a build may be asked to state of itself, in buildx's and buildctl's words. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attestationsAsked, formatProvenance, parseProvenance } from '../../src/attest/options.ts';
import { formatSbom, parseSbom } from '../../src/attest/sbom-options.ts';

const defaults = {
  mode: 'max',
  version: 'v1',
  builderId: '',
  reproducible: false,
  inlineOnly: false,
  filename: 'provenance.json',
  completeMaterials: false,
  captureUsage: false,
};

describe('parameters of a provenance', () => {
  test.each([
    ['', {}],
    ['mode=min,inline-only=true', { mode: 'min', inlineOnly: true }],
    ['mode=full', { mode: 'max' }],
    ['version=v0.2', { version: 'v0.2' }],
    ['type=provenance,reproducible', { reproducible: true }],
    ['disabled=false,reproducible=0', {}],
    ['builder-id=https://example.com/a=b', { builderId: 'https://example.com/a=b' }],
    ['"builder-id=a,b",filename=x.json', { builderId: 'a,b', filename: 'x.json' }],
    ['complete-materials=true', { completeMaterials: true }],
    ['capture-usage=true', { captureUsage: true }],
  ])('%s', (text, expected) => {
    expect(parseProvenance(text)).toEqual({ ...defaults, ...expected });
  });

  test.each([
    ['mode=large', 'mode=large cannot be', 'max or min'],
    ['version=v2', 'version=v2 cannot be', 'v1 or v0.2'],
    ['reproducible=perhaps', 'reproducible=perhaps cannot be', 'true or false'],
    ['inline-only=2', 'inline-only=2', 'true or false'],
    ['moode=max', 'no parameter "moode"', 'mean mode'],
    ['filename=../x', 'filename="../x" is no name', ''],
    ['filename=', 'filename="" is no name', ''],
    ['capture-usage=perhaps', 'capture-usage=perhaps cannot be', 'true or false'],
    ['"mode=max', 'a quote is not closed', ''],
  ])('refused by name: %s', (text, message, hint) => {
    expect(() => parseProvenance(text)).toThrow(
      expect.objectContaining({
        message: expect.stringContaining(message),
        ...(hint && { hint: expect.stringContaining(hint) }),
      }),
    );
  });

  test('written and read again they are the same', () => {
    const options = fc.record({
      mode: fc.constantFrom('min' as const, 'max' as const),
      version: fc.constantFrom('v1' as const, 'v0.2' as const),
      builderId: fc.string(),
      reproducible: fc.boolean(),
      inlineOnly: fc.boolean(),
      filename: fc.constantFrom('provenance.json', 'a,b"c.json'),
      completeMaterials: fc.boolean(),
      captureUsage: fc.boolean(),
    });
    fc.assert(
      fc.property(options, (given) => {
        expect(parseProvenance(formatProvenance(given))).toEqual(given);
      }),
    );
  });
});

describe('the parameters of a bill of materials', () => {
  const builtIn = { format: 'spdx', timeoutMs: 1_800_000, parameters: {} };

  test('without any, the built-in scanner writes SPDX', () => {
    for (const text of ['', 'type=sbom']) expect(parseSbom(text)).toEqual(builtIn);
    expect(parseSbom('format=cyclonedx')).toEqual({ ...builtIn, format: 'cyclonedx' });
  });

  test('what is given beside an image is for the image, but for the time it has', () => {
    expect(parseSbom('generator=reg.example/scan,timeout=90s,ARG1=a,"ARG2=b,c"')).toEqual({
      ...{ generator: 'reg.example/scan:latest', format: 'spdx', timeoutMs: 90_000 },
      parameters: { ARG1: 'a', ARG2: 'b,c' },
    });
  });

  test('what cannot be is refused by its name', () => {
    expect(() => parseSbom('format=xml')).toThrow('sbom: format=xml cannot be');
    expect(() => parseSbom('formal=spdx')).toThrow('the built-in scanner has no parameter "formal"');
    expect(() => parseSbom('generator=')).toThrow('generator is empty');
    expect(() => parseSbom('generator=a,timeout=never')).toThrow('timeout=never cannot be');
    expect(() => parseSbom('generator=A B')).toThrow('invalid');
  });

  test('options written in words are read as the same options', () => {
    for (const text of ['', 'format=cyclonedx', 'generator=a,timeout=5m,X=1,"Y=2,3"']) {
      expect(parseSbom(formatSbom(parseSbom(text)))).toEqual(parseSbom(text));
    }
  });
});

describe('where it is asked for', () => {
  test('attest:provenance, or the build argument, which gives way', () => {
    expect(attestationsAsked({ 'build-arg:FOO': 'bar' })).toEqual({});
    expect(attestationsAsked({ 'attest:provenance': '' }).provenance).toEqual(defaults);
    const arg = { 'build-arg:BUILDKIT_ATTEST_PROVENANCE': 'mode=min' };
    expect(attestationsAsked(arg).provenance?.mode).toBe('min');
    expect(attestationsAsked({ ...arg, 'attest:provenance': 'mode=max' }).provenance?.mode).toBe('max');
    expect(attestationsAsked({ ...arg, 'attest:provenance': 'disabled=true' }).provenance).toBeUndefined();
    expect(attestationsAsked({ 'attest:sbom': '' }).sbom?.format).toBe('spdx');
    expect(attestationsAsked({ 'build-arg:BUILDKIT_ATTEST_SBOM': 'format=cyclonedx' }).sbom?.format).toBe(
      'cyclonedx',
    );
  });

  test('other attestations are refused by name, unless they say that there are to be none', () => {
    expect(() => attestationsAsked({ 'attest:provenence': '' })).toThrow(
      'unknown attestation type "provenence"',
    );
    expect(attestationsAsked({ 'attest:sbom': 'disabled=true' }).sbom).toBeUndefined();
  });
});
