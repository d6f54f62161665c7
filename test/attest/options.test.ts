/** What a build may be asked to state of itself, in buildx's and buildctl's words. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatProvenance, parseProvenance, provenanceAsked } from '../../src/attest/options.ts';

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

describe('where it is asked for', () => {
  test('attest:provenance, or the build argument, which gives way', () => {
    expect(provenanceAsked({ 'build-arg:FOO': 'bar' })).toBeUndefined();
    expect(provenanceAsked({ 'attest:provenance': '' })).toEqual(defaults);
    const arg = { 'build-arg:BUILDKIT_ATTEST_PROVENANCE': 'mode=min' };
    expect(provenanceAsked(arg)?.mode).toBe('min');
    expect(provenanceAsked({ ...arg, 'attest:provenance': 'mode=max' })?.mode).toBe('max');
    expect(provenanceAsked({ ...arg, 'attest:provenance': 'disabled=true' })).toBeUndefined();
  });

  test('other attestations are refused by name, unless they say that there are to be none', () => {
    expect(() => provenanceAsked({ 'attest:sbom': '' })).toThrow('sbom attestations are not supported yet');
    expect(() => provenanceAsked({ 'build-arg:BUILDKIT_ATTEST_SBOM': 'generator=x' })).toThrow('sbom');
    expect(() => provenanceAsked({ 'attest:provenence': '' })).toThrow(
      'unknown attestation type "provenence"',
    );
    expect(provenanceAsked({ 'attest:sbom': 'disabled=true' })).toBeUndefined();
  });
});
