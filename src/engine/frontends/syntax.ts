import { parseReference } from '../../oci/index.ts';

/**
 * Whether our own frontend takes the place of a frontend's image. It does so for docker's own image, of any version,
 * unless the build has put another image in its place (`--build-context IMAGE=…`).
 */
export function isOurs(image: string, namedContexts: Readonly<Record<string, string>>): boolean {
  if (Object.hasOwn(namedContexts, image)) return false;
  const { domain, path } = parseReference(image);
  return domain === 'docker.io' && /^docker\/dockerfile(-upstream)?$/.test(path);
}
