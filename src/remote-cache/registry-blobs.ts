import { fetchBlobInto } from '../distribution/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Refs } from '../refs/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { Store } from '../store/index.ts';
import type { CacheBlobs } from './read-cache.ts';

/** The layers in the repository of `ref`. The registry is asked once for each blob. */
export function registryBlobs(store: Store, registry: RegistryClient, refs: Refs, ref: string): CacheBlobs {
  const asked = new Map<Digest, Promise<boolean>>();
  return {
    async has({ descriptor: { digest } }, { credentials, signal }) {
      if ((await store.content.info(digest)) !== undefined) return true;
      let answer = asked.get(digest);
      if (answer === undefined) {
        answer = registry.hasBlob(ref, digest, { credentials, signal });
        answer.catch(() => asked.delete(digest));
        asked.set(digest, answer);
      }
      return answer;
    },
    tree: (layers) => refs.image(ref, layers),
    bring: (blob, ctx) => fetchBlobInto(store, registry, ref, blob, ctx),
  };
}
