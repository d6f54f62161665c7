/** `GET /distribution/{name}/json`: what a registry says of an image. */
import { formatReference, normalizeName, parseReference } from '../../../oci/reference.ts';
import {
  type ImageConfig,
  type Index,
  isIndexType,
  type Manifest,
  type Platform,
} from '../../../oci/types.ts';
import { registryAuth } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';

export const distributionRoutes: Route[] = [
  { method: 'GET', path: '/distribution/*', suffix: '/json', scopes: ['images:read'], handle: look },
];

async function look({ host, request, name, signal }: Call) {
  const { registry } = host.engine;
  const ref = normalizeName(name);
  const ctx = { signal, credentials: registryAuth(request.headers['x-registry-auth']) };
  const { descriptor, bytes } = await registry.manifest(ref, ctx);
  const document = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<Manifest & Index>;
  let platforms: (Platform | undefined)[];
  if (isIndexType(descriptor.mediaType)) platforms = (document.manifests ?? []).map((each) => each.platform);
  else {
    const { domain, path } = parseReference(ref);
    const config = document.config;
    const parts: Uint8Array[] = [];
    if (config !== undefined) {
      const blob = await registry.blob(formatReference({ domain, path, digest: config.digest }), config, ctx);
      for await (const part of blob) parts.push(part as Uint8Array);
    }
    const { os, architecture, variant } = JSON.parse(Buffer.concat(parts).toString('utf8')) as ImageConfig;
    platforms = [{ os, architecture, variant }];
  }
  const { mediaType, digest, size } = descriptor;
  return {
    json: {
      Descriptor: { mediaType, digest, size },
      Platforms: platforms.filter((each) => each !== undefined),
    },
  };
}
