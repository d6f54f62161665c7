/**
 * The authorities by which certificates, logs and timestamps are checked: a `trusted_root.json`, or that of sigstore's
 * public services, which is fetched and checked by The Update Framework.
 * https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
 */
import { TrustedRoot } from '@sigstore/protobuf-specs';
import { type TrustMaterial, toTrustMaterial } from '@sigstore/verify';
import { fail } from '../errors/index.ts';
import { documentExcess } from '../oci/index.ts';

/** Reads the text of a `trusted_root.json`. `name` is the file's in errors. Throws `invalid`. */
export function readTrustedRoot(text: string, name: string): TrustMaterial {
  const excess = documentExcess(Buffer.from(text));
  if (excess !== undefined) throw fail('invalid', 'client', `the trusted root ${name} has ${excess}`);
  let root: TrustedRoot;
  try {
    const json = JSON.parse(text);
    if (!String(json.mediaType).startsWith('application/vnd.dev.sigstore.trustedroot')) {
      throw new Error(`its mediaType is ${JSON.stringify(json.mediaType)}`);
    }
    root = TrustedRoot.fromJSON(json);
    return toTrustMaterial(root);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fail('invalid', 'client', `the trusted root ${name} cannot be read: ${why}`, {
      cause,
      hint: '`cosign trusted-root create` makes one.',
    });
  }
}

/** The root of sigstore's public services, kept in a folder. Throws `unavailable` without a network. */
export async function publicRoot(cachePath: string): Promise<TrustMaterial> {
  const { getTrustedRoot } = await import('@sigstore/tuf');
  try {
    return toTrustMaterial(await getTrustedRoot({ cachePath, timeout: 30_000 }));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fail('unavailable', 'http', `the root of sigstore's public services cannot be fetched: ${why}`, {
      cause,
      hint: 'Give the authorities in a file: --trusted-root FILE. A key can do without them: --insecure-ignore-tlog.',
    });
  }
}
