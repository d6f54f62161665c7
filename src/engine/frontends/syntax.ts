import { parseReference } from '../../oci/index.ts';

/**
 * Whether ours stands for a frontend's image: for docker's own, of whatever version, unless the build has put another in
 * its place (`--build-context IMAGE=…`).
 */
export function isOurs(image: string, namedContexts: Readonly<Record<string, string>>): boolean {
  if (Object.hasOwn(namedContexts, image)) return false;
  const { domain, path } = parseReference(image);
  return domain === 'docker.io' && /^docker\/dockerfile(-upstream)?$/.test(path);
}
