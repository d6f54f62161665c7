/** Checks one signature: who has made it, when, and of which image. */
import { createHash, type KeyObject } from 'node:crypto';
import { bundleFromJSON } from '@sigstore/bundle';
import { dsse } from '@sigstore/core';
import {
  type SignedEntity,
  type TrustMaterial,
  toSignedEntity,
  VerificationError,
  Verifier,
} from '@sigstore/verify';
import { documentExcess } from '../oci/index.ts';
import type { Candidate } from './find-signatures.ts';
import { hintOf, verifies } from './keys.ts';
import { simpleBundle } from './simple-signing.ts';
import { type Claim, readSimpleSigning, readStatement, statementType } from './statement.ts';

/** The one who has made a signature. */
export type By = { kind: 'key'; hint: string } | { kind: 'identity'; identity: string; issuer: string };

/** What signatures are checked with. */
export interface Trust {
  /** The keys of which one must have signed; none: a certificate of the authorities must have. */
  keys: readonly KeyObject[];
  /** The authorities; undefined where nothing needs them. */
  roots?: TrustMaterial;
  /** Asks for no entry in a transparency log. */
  ignoreTlog: boolean;
}

/** A signature that holds, or why it does not. `by` is the one who has made it, as far as that is known. */
type Checked = { by: By; claims: Claim[]; loggedAt?: Date } | { by?: By; flaw: string };

/** Checks a signature. What cannot be read, and what does not hold, is a flaw and no error. */
export function checkCandidate(candidate: Candidate, trust: Trust): Checked {
  if (candidate.kind === 'unreadable') return { flaw: candidate.flaw };
  try {
    return candidate.kind === 'bundle' ? checkBundle(candidate.bytes, trust) : checkSimple(candidate, trust);
  } catch (err) {
    return { flaw: `it cannot be read: ${messageOf(err)}` };
  }
}

function checkBundle(bytes: Buffer, trust: Trust): Checked {
  const excess = documentExcess(bytes);
  if (excess !== undefined) return { flaw: `it has ${excess}` };
  const bundle = bundleFromJSON(JSON.parse(bytes.toString('utf8')));
  if (bundle.content.$case !== 'dsseEnvelope') return { flaw: 'it signs no statement' };
  const { payload, payloadType, signatures } = bundle.content.dsseEnvelope;
  if (payloadType !== statementType || signatures.length !== 1) return { flaw: 'it signs no statement' };
  const claims = readStatement(payload);
  if (typeof claims === 'string') return { flaw: claims };
  const entity = toSignedEntity(bundle);
  return { ...checkEntity(entity, dsse.preAuthEncoding(payloadType, payload), trust), claims } as Checked;
}

function checkSimple(candidate: Candidate & { kind: 'simple' }, trust: Trust): Checked {
  const { payload, annotations } = candidate;
  const claims = readSimpleSigning(payload);
  if (typeof claims === 'string') return { flaw: claims };
  const bundle = bundleFromJSON(simpleBundle(payload, annotations));
  return { ...checkEntity(toSignedEntity(bundle, payload), payload, trust), claims } as Checked;
}

/** Checks the signature of bytes, its key, and what logs and authorities say of it. */
function checkEntity(
  entity: SignedEntity,
  signed: Buffer,
  trust: Trust,
): { by: By; loggedAt?: Date } | Checked {
  const { signature, key } = entity;
  let by = claimedBy(entity);
  let material = trust.roots ?? noRoots;
  const byKey = trust.keys.length > 0;
  if (byKey) {
    const found = trust.keys.find((each) => verifies(each, signed, signature.signature));
    if (found === undefined)
      return { by, flaw: by?.kind === 'identity' ? 'it is by no key' : 'it is by none of the keys' };
    by = { kind: 'key', hint: hintOf(found) };
    material = { ...material, publicKey: () => ({ publicKey: found, validFor: () => true }) };
  } else if (key.$case === 'public-key') {
    return { by, flaw: 'it is by a key, and no identity' };
  }
  const stamps = entity.timestamps.filter(({ $case }) => !(trust.ignoreTlog && $case === 'transparency-log'));
  const checked: SignedEntity = {
    // A signature by a key may come with a certificate of that key, which says nothing more.
    key: byKey ? { $case: 'public-key', hint: '' } : key,
    tlogEntries: trust.ignoreTlog ? [] : entity.tlogEntries,
    timestamps: byKey && trust.ignoreTlog ? [] : stamps,
    signature: {
      signature: signature.signature,
      compareSignature: (other) => signature.compareSignature(other),
      compareDigest: (digest) => signature.compareDigest(digest),
      // A log may have noted another hash of the same bytes than SHA-256.
      compareSignedDigest: (digest) => signature.compareSignedDigest(digest) || isDigestOf(digest, signed),
      verifySignature: (publicKey) => verifies(publicKey, signed, signature.signature),
    },
  };
  try {
    const verifier = new Verifier(material, {
      tlogThreshold: trust.ignoreTlog ? 0 : 1,
      timestampThreshold: byKey ? 0 : 1,
      ctlogThreshold: 1,
    });
    const signer = verifier.verify(checked);
    const { subjectAlternativeName: identity, extensions } = signer.identity ?? {};
    if (!byKey) {
      if (identity === undefined || extensions?.issuer === undefined)
        return { flaw: 'its certificate names nobody' };
      by = { kind: 'identity', identity, issuer: extensions.issuer };
    }
    const seconds = Number(checked.tlogEntries[0]?.integratedTime ?? 0);
    return { by: by as By, ...(seconds > 0 && { loggedAt: new Date(seconds * 1000) }) };
  } catch (err) {
    if (err instanceof VerificationError || err instanceof Error) return { by, flaw: flawOf(err) };
    throw err;
  }
}

const noRoots: TrustMaterial = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: () => {
    throw new Error('there are no keys');
  },
};

/** Who the signature says has made it; nobody has checked it. */
function claimedBy({ key }: SignedEntity): By | undefined {
  if (key.$case === 'public-key') return { kind: 'key', hint: key.hint };
  const { certificate } = key;
  const issuer = certificate.extension('1.3.6.1.4.1.57264.1.8');
  const older = certificate.extension('1.3.6.1.4.1.57264.1.1')?.value.toString('utf8');
  return {
    kind: 'identity',
    identity: certificate.subjectAltName ?? 'nobody',
    issuer: issuer?.valueObj.subs?.[0]?.value.toString('utf8') ?? older ?? 'nobody',
  };
}

function isDigestOf(digest: Buffer, bytes: Buffer): boolean {
  const algorithm = { 48: 'sha384', 64: 'sha512' }[digest.length];
  return algorithm !== undefined && createHash(algorithm).update(bytes).digest().equals(digest);
}

/** The words for a failed check, in which the cause tells more than the library's own words. */
function flawOf(err: Error): string {
  const code = 'code' in err ? String(err.code) : '';
  const inner = err.cause instanceof Error ? err.cause.message : undefined;
  if (code === 'CERTIFICATE_ERROR') return `its certificate does not hold: ${inner ?? err.message}`;
  if (code === 'SIGNATURE_ERROR') return 'it is not of these bytes';
  if (code === 'TIMESTAMP_ERROR') return `its time does not hold: ${err.message}`;
  if (code.startsWith('TLOG')) return `its entry in the transparency log does not hold: ${err.message}`;
  return messageOf(err);
}

function messageOf(err: unknown): string {
  return (err instanceof Error ? err.message : String(err)).slice(0, 300);
}
