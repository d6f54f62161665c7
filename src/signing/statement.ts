/**
 * What a signature of an image says: an in-toto statement with the image's digest as its subject (cosign 3), or cosign's
 * earlier "simple signing" payload. Pure.
 * https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
 * https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
import { type Digest, hex } from '../oci/index.ts';

/** The predicate of a statement that says no more than that somebody has signed. */
export const signPredicate = 'https://sigstore.dev/cosign/sign/v1';
export const statementType = 'application/vnd.in-toto+json';

/** A subject of a signature. */
export interface Claim {
  /** Its sha256 digest. */
  digest: string;
  /** What the signer adds. */
  annotations: Record<string, string>;
}

/** The statement that an image was signed. */
export function statementOf(digest: Digest, annotations: Readonly<Record<string, string>>): Buffer {
  const more = Object.keys(annotations).length === 0 ? {} : { annotations };
  return Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { sha256: hex(digest) }, ...more }],
      predicateType: signPredicate,
      predicate: {},
    }),
  );
}

/** Reads a statement that was signed; a text says why it is no signature of an image. */
export function readStatement(payload: Buffer): Claim[] | string {
  const value = objectOf(payload);
  if (value === undefined) return 'its payload is no statement';
  if (
    value._type !== 'https://in-toto.io/Statement/v1' &&
    value._type !== 'https://in-toto.io/Statement/v0.1'
  ) {
    return 'its payload is no in-toto statement';
  }
  if (value.predicateType !== signPredicate) {
    return `it states ${JSON.stringify(value.predicateType)} of the image, and does not sign it`;
  }
  const list = Array.isArray(value.subject) ? (value.subject as unknown[]) : [];
  return list.flatMap((each) => {
    const sha256 = isObject(each) && isObject(each.digest) ? each.digest.sha256 : undefined;
    if (typeof sha256 !== 'string' || !isObject(each)) return [];
    return [{ digest: `sha256:${sha256}`, annotations: textsOf(each.annotations) }];
  });
}

/** Reads a payload of simple signing; a text says why it is none. */
export function readSimpleSigning(payload: Buffer): Claim[] | string {
  const value = objectOf(payload);
  const critical = isObject(value?.critical) ? value.critical : {};
  if (critical.type !== 'cosign container image signature') return 'its payload is no signature of an image';
  const named = isObject(critical.image) ? critical.image['docker-manifest-digest'] : undefined;
  return typeof named === 'string' ? [{ digest: named, annotations: textsOf(value?.optional) }] : [];
}

function textsOf(value: unknown): Record<string, string> {
  if (!isObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function objectOf(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
