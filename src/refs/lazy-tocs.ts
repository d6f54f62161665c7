/** Finds out which of an image's layers become lazy ones. */
import { DrydockError } from '../errors/index.ts';
import { fetchToc, hasToc, type PackedToc } from '../layer/index.ts';
import type { Descriptor } from '../oci/index.ts';
import type { RegistryClient } from '../registry/index.ts';
import type { RefContext, Store } from '../store/index.ts';

/**
 * Fetches the tables of contents of the layers from `first` on that can be lazy: those that have one, and whose blobs
 * are not here, for builds whose layers may be lazy. Undefined for all others: they are fetched whole, as also when the
 * registry does not serve ranges.
 * Throws `canceled`.
 */
export async function lazyTocs(
  store: Store,
  client: RegistryClient,
  source: string | undefined,
  layers: readonly { descriptor: Descriptor }[],
  first: number,
  { credentials, signal, report, offline, mayBeLazy }: RefContext,
): Promise<(PackedToc | undefined)[]> {
  const { lazy, content } = store;
  const wanted = layers.map(({ descriptor }, i) => i >= first && hasToc(descriptor));
  if (lazy?.wanted !== true || mayBeLazy !== true || offline === true) return [];
  if (source === undefined || !wanted.includes(true)) return [];
  if ((await lazy.problem()) !== undefined) return [];
  if (credentials !== undefined) lazy.lend(source, credentials);
  return Promise.all(
    layers.map(async ({ descriptor }, i) => {
      if (!wanted[i] || (await content.info(descriptor.digest)) !== undefined) return undefined;
      try {
        const toc = await fetchToc(descriptor, (range) =>
          client.range(source, descriptor.digest, range, { credentials, signal }),
        );
        const total = toc.bytes.length;
        report?.(`lazy ${descriptor.digest}`, { current: total, total, done: true });
        return toc;
      } catch (err) {
        if (signal?.aborted || !(err instanceof DrydockError)) throw err;
        // Whatever the trouble is, fetching the layer whole tells it, if it stays.
        return undefined;
      }
    }),
  );
}
