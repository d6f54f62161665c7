import { fail } from '../errors/index.ts';

const lengths = { sha256: 64, sha384: 96, sha512: 128 } as const;

/** The algorithms that digests of files may be made by; node:crypto has them under the same names. */
export type ChecksumAlgorithm = keyof typeof lengths;

/** The digest of a file by any of the algorithms: `sha512:<128 hex digits>`. A `Digest` is one, too. */
export type Checksum = `${ChecksumAlgorithm}:${string}`;

/**
 * Reads a digest of sha256, sha384 or sha512. Throws `invalid`, and `unsupported` for another algorithm.
 * https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
 */
export function parseChecksum(text: string): Checksum {
  const [, algorithm = '', digits = ''] = /^([^:]*):(.*)$/s.exec(text) ?? [];
  if (Object.hasOwn(lengths, algorithm)) {
    const length = lengths[algorithm as ChecksumAlgorithm];
    if (digits.length === length && /^[0-9a-f]+$/.test(digits)) return text as Checksum;
    const want = `${algorithm}:<${length} hex digits in lower case>`;
    throw fail('invalid', 'client', `invalid digest ${JSON.stringify(text)}: want ${want}`);
  }
  if (/^[a-z0-9]+(?:[+._-][a-z0-9]+)*$/.test(algorithm)) {
    const known = Object.keys(lengths).join(', ');
    throw fail(
      'unsupported',
      'client',
      `unsupported digest algorithm ${algorithm} in ${JSON.stringify(text)}`,
      {
        hint: `Give a checksum by one of ${known}.`,
      },
    );
  }
  throw fail('invalid', 'client', `invalid digest ${JSON.stringify(text)}: want sha256:<64 hex digits>`);
}

/** The algorithm of a checksum. */
export function algorithmOf(checksum: Checksum): ChecksumAlgorithm {
  return checksum.slice(0, checksum.indexOf(':')) as ChecksumAlgorithm;
}
