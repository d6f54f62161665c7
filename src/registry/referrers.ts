/**
 * Lists what refers to a manifest: signatures, statements. Registries of old have the list under a tag.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
import { fail } from '../errors/index.ts';
import { type Descriptor, type Digest, documentExcess, familiarName, isDigest } from '../oci/index.ts';
import type { RegistryContext } from './client.ts';
import { readBody } from './http.ts';
import { maxManifest } from './manifest.ts';
import { purposeOf, type Transport } from './transport.ts';

/** A manifest that refers to another one. */
export interface Referrer extends Descriptor {
  /** `application/vnd.dev.sigstore.bundle.v0.3+json` … */
  artifactType?: string;
}

/** The first page of a manifest's referrers; none when the registry knows of none. Throws the registry's errors. */
export async function listReferrers(
  transport: Transport,
  place: { domain: string; path: string },
  digest: Digest,
  ctx: RegistryContext,
): Promise<Referrer[]> {
  const { domain, path } = place;
  const purpose = purposeOf(
    `listing what refers to ${familiarName(`${domain}/${path}@${digest}`)}`,
    domain,
    path,
  );
  const accept = 'application/vnd.oci.image.index.v1+json';
  const ask = async (at: string) => {
    const response = await transport.call({
      ...{ purpose, path, method: 'GET' as const, at, headers: { accept } },
      ok: [200, 400, 404, 405],
      ...ctx,
    });
    if (response.statusCode === 200) return readBody(response, maxManifest);
    response.resume();
    return undefined;
  };
  const bytes = (await ask(`referrers/${digest}`)) ?? (await ask(`manifests/${digest.replace(':', '-')}`));
  return bytes === undefined ? [] : referrersOf(bytes, purpose.doing);
}

function referrersOf(bytes: Buffer, doing: string): Referrer[] {
  const excess = documentExcess(bytes);
  if (excess !== undefined) throw fail('exhausted', 'registry', `${doing}: the list has ${excess}`);
  try {
    const { manifests } = JSON.parse(bytes.toString('utf8')) as { manifests?: unknown };
    if (Array.isArray(manifests)) {
      return manifests.filter(
        ({ digest, size, mediaType }) =>
          typeof digest === 'string' &&
          isDigest(digest) &&
          Number.isSafeInteger(size) &&
          typeof mediaType === 'string',
      );
    }
  } catch {
    // The error is thrown below.
  }
  throw fail('corrupt', 'registry', `${doing}: the registry's answer is no list`);
}
