/** `GET /distribution/{name}/json`: the manifest that a registry has under a name. */
import { parseIndex, parseManifest, readConfig } from '../../../distribution/index.ts';
import { isIndexType, maxBytes, normalizeName, type Platform } from '../../../oci/index.ts';
import { apiError } from '../http/errors.ts';
import { registryAuth } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';

export const distributionRoutes: Route[] = [
  { method: 'GET', path: '/distribution/*', suffix: '/json', scopes: ['images:read'], handle: distribution },
];

async function distribution({ host, name, request, signal }: Call) {
  const { registry } = host.engine;
  const ref = normalizeName(name);
  const ctx = { signal, credentials: registryAuth(request.headers['x-registry-auth'], ref) };
  const { descriptor, bytes } = await registry.manifest(ref, ctx);
  const { mediaType, digest, size } = descriptor;
  const origin = { name, hop: 'registry' as const };
  const platforms: Platform[] = [];
  if (isIndexType(mediaType)) {
    for (const { platform } of parseIndex(bytes, origin).manifests) {
      if (platform !== undefined) platforms.push(platform);
    }
  } else {
    const manifest = parseManifest(bytes, origin);
    if (manifest.config.size > maxBytes) throw apiError('invalid', `${name}: its config is too large`);
    const parts: Buffer[] = [];
    for await (const part of await registry.blob(ref, manifest.config, ctx)) parts.push(part as Buffer);
    const { os, architecture, variant } = await readConfig(Buffer.concat(parts), manifest, origin);
    platforms.push({ architecture, os, ...(variant === undefined ? {} : { variant }) });
  }
  return { json: { Descriptor: { mediaType, digest, size }, Platforms: platforms } };
}
