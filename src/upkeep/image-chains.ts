import {
  chainId,
  type Descriptor,
  type Digest,
  type ImageConfig,
  type Index,
  isIndexType,
  type Manifest,
} from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';

/** The chain IDs of all images in a store whose manifests and configs are there. */
export async function imageChains(store: Store): Promise<Set<Digest>> {
  const chains = new Set<Digest>();
  const seen = new Set<Digest>();
  const visit = async (target: Descriptor): Promise<void> => {
    if (seen.has(target.digest) || (await store.content.info(target.digest)) === undefined) return;
    seen.add(target.digest);
    const document: unknown = JSON.parse((await store.content.bytes(target.digest)).toString('utf8'));
    if (isIndexType(target.mediaType)) {
      for (const child of (document as Index).manifests) await visit(child);
      return;
    }
    const { config } = document as Manifest;
    if (config === undefined || (await store.content.info(config.digest)) === undefined) return;
    const image = JSON.parse((await store.content.bytes(config.digest)).toString('utf8')) as ImageConfig;
    const chain = chainId(image.rootfs?.diff_ids ?? []);
    if (chain !== undefined) chains.add(chain);
  };
  for (const image of await store.images.list()) {
    if (isDue()) await nextTurn();
    await visit(image.target);
  }
  return chains;
}
