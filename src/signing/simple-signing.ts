/**
 * Signatures as cosign kept them before bundles: a layer with the payload, whose annotations have the signature, the
 * certificate, Rekor's promise, and a timestamp. Pure.
 * https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
import { createHash } from 'node:crypto';

const prefix = 'dev.sigstore.cosign';

/** A simple signature in the JSON form of a bundle. Throws when its parts cannot be read. */
export function simpleBundle(payload: Buffer, annotations: Readonly<Record<string, string>>): object {
  const signature = annotations['dev.cosignproject.cosign/signature'];
  if (signature === undefined) throw new Error('there is no signature in its annotations');
  const pem = annotations[`${prefix}/certificate`] ?? '';
  const certificate = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/
    .exec(pem)?.[1]
    ?.replace(/\s/g, '');
  const logged = annotations[`${prefix}/bundle`];
  const stamped = annotations[`${prefix}/rfc3161timestamp`];
  const stamp =
    stamped && (JSON.parse(stamped) as { SignedRFC3161Timestamp?: string }).SignedRFC3161Timestamp;
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1',
    verificationMaterial: {
      ...(certificate === undefined
        ? { publicKey: { hint: '' } }
        : { x509CertificateChain: { certificates: [{ rawBytes: certificate }] } }),
      tlogEntries: logged === undefined ? [] : [entryOf(JSON.parse(logged))],
      ...(stamp && { timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: stamp }] } }),
    },
    messageSignature: {
      messageDigest: {
        algorithm: 'SHA2_256',
        digest: createHash('sha256').update(payload).digest('base64'),
      },
      signature,
    },
  };
}

function entryOf(promise: {
  SignedEntryTimestamp: string;
  Payload: { body: string; integratedTime: number; logIndex: number; logID: string };
}): object {
  const { body, integratedTime, logIndex, logID } = promise.Payload;
  const { kind, apiVersion } = JSON.parse(Buffer.from(body, 'base64').toString('utf8'));
  return {
    logIndex: String(logIndex),
    logId: { keyId: Buffer.from(logID, 'hex').toString('base64') },
    kindVersion: { kind, version: apiVersion },
    integratedTime: String(integratedTime),
    inclusionPromise: { signedEntryTimestamp: promise.SignedEntryTimestamp },
    canonicalizedBody: body,
  };
}
