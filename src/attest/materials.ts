/** The sources of a build as SLSA lists them: a URI and a digest of each. Pure. */
import { maskUrls } from '../errors/index.ts';
import { type Checksum, formatReference, parseReference } from '../oci/index.ts';
import type { UsedSource } from '../solver/index.ts';
import { imagePurl } from './purl.ts';
import type { BuildFacts } from './types.ts';

/** SLSA v1 calls it a resource descriptor, v0.2 a material. */
export interface Material {
  uri: string;
  digest: Record<string, string>;
}

const order = ['image', 'blob', 'git', 'http'];

/** Lists the sources that have a digest, images first and each once, with the passwords in their URLs masked. */
export function materialsOf({ sources, isResolved }: Pick<BuildFacts, 'sources' | 'isResolved'>): Material[] {
  const found = new Map<string, { material: Material; kind: number }>();
  for (const used of sources) {
    const material = materialOf(used, isResolved);
    if (material === undefined) continue;
    const key = JSON.stringify([material.uri, material.digest]);
    found.set(key, { material, kind: order.indexOf(used.kind) });
  }
  return [...found.values()]
    .sort((a, b) => a.kind - b.kind || (a.material.uri < b.material.uri ? -1 : 1))
    .map(({ material }) => material);
}

/** Describes one source; undefined for a client's folder, which has no digest. */
export function materialOf(used: UsedSource, isResolved: BuildFacts['isResolved']): Material | undefined {
  switch (used.kind) {
    case 'image': {
      const { ref, platform, layout, digest } = used;
      const { digest: named, ...name } = parseReference(ref);
      const withoutDigest =
        named !== undefined && name.tag !== undefined && isResolved(formatReference(name), named);
      const uri = imagePurl(ref, { type: layout ? 'oci' : 'docker', platform, withoutDigest });
      return { uri, digest: digestSet(digest) };
    }
    case 'blob': {
      const type = used.layout ? 'oci' : 'docker';
      return {
        uri: imagePurl(used.ref, { type, more: { ref_type: 'blob' } }),
        digest: digestSet(used.digest),
      };
    }
    case 'git':
      return { uri: maskUrls(used.url), digest: commitDigest(used.commit) };
    case 'http':
      return { uri: maskUrls(used.url), digest: digestSet(used.digest) };
    case 'local':
      return undefined;
  }
}

/** Writes a digest as in-toto does: by its algorithm. */
export function digestSet(digest: Checksum): Record<string, string> {
  const [algorithm = '', digits = ''] = digest.split(':');
  return { [algorithm]: digits };
}

function commitDigest(commit: string): Record<string, string> {
  return { [commit.length === 64 ? 'sha256' : 'sha1']: commit };
}
