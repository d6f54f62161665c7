import { parseReference } from '../../oci/reference.ts';

/** Docker's own frontend, of whatever version: what it does is what ours does. */
export function isOurs(image: string): boolean {
  const { domain, path } = parseReference(image);
  return domain === 'docker.io' && /^docker\/dockerfile(-upstream)?$/.test(path);
}
