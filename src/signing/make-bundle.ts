/**
 * Makes a signature as cosign 3 keeps it: a sigstore bundle (v0.3) around a DSSE envelope around an in-toto statement.
 * https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
 * https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
 */
import { generateKeyPairSync } from 'node:crypto';
import { BUNDLE_V03_MEDIA_TYPE, bundleFromJSON, type SerializedEnvelope } from '@sigstore/bundle';
import { dsse } from '@sigstore/core';
import { fail } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type { IdentityToken } from './identity-token.ts';
import { type SigningKey, signingKey } from './keys.ts';
import type { SigningServices } from './options.ts';
import type { LogEntry, Services } from './services.ts';
import { statementOf, statementType } from './statement.ts';

/** The one who signs: a key, or the identity of a token with a key that is used once. */
export type SignerChoice = { key: SigningKey } | { token: IdentityToken };

/** Signs that an image has a digest. Returns the bundle as JSON. Throws the services' errors. */
export async function makeBundle(
  digest: Digest,
  annotations: Readonly<Record<string, string>>,
  signer: SignerChoice,
  { fulcioUrl, rekorUrl, rekorVersion, timestampUrl }: SigningServices,
  services: Services,
): Promise<Buffer> {
  const key =
    'key' in signer ? signer.key : signingKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
  let certificate: Buffer | undefined;
  if ('token' in signer) {
    const { token, subject } = signer.token;
    certificate = await services.certificate(fulcioUrl, token, key.publicPem, key.sign(Buffer.from(subject)));
  }
  const payload = statementOf(digest, annotations);
  const signed = dsse.preAuthEncoding(statementType, payload);
  const signature = key.sign(signed);
  const envelope: SerializedEnvelope = {
    payload: payload.toString('base64'),
    payloadType: statementType,
    signatures: [{ sig: signature.toString('base64'), keyid: '' }],
  };
  let entry: LogEntry | undefined;
  if (rekorUrl !== undefined && rekorVersion === 1) {
    const verifier = certificate === undefined ? key.publicPem : pemOf(certificate);
    entry = await services.noted(rekorUrl, envelope, verifier);
  } else if (rekorUrl !== undefined) {
    const { keyDetails, publicDer } = key;
    const verifier = certificate === undefined ? { publicKey: publicDer } : { x509Certificate: certificate };
    entry = await services.notedTiles(rekorUrl, { signed, signature }, { ...verifier, keyDetails });
  }
  const stamp = timestampUrl === undefined ? undefined : await services.timestamp(timestampUrl, signature);
  const material =
    certificate === undefined
      ? { publicKey: { hint: key.hint } }
      : { certificate: { rawBytes: certificate.toString('base64') } };
  const bundle = {
    mediaType: BUNDLE_V03_MEDIA_TYPE,
    verificationMaterial: {
      ...material,
      ...(entry !== undefined && { tlogEntries: [entry] }),
      ...(stamp !== undefined && {
        timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: stamp.toString('base64') }] },
      }),
    },
    dsseEnvelope: envelope,
  };
  try {
    bundleFromJSON(bundle);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fail('corrupt', 'http', `what the services answered makes no signature: ${why}`, { cause });
  }
  return Buffer.from(JSON.stringify(bundle));
}

function pemOf(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
