/** Images of nothing but a changed config, which docker's builder of old gives the time of their making. */
import { recordsByTarget, storedImages } from '../distribution/index.ts';
import type { ImageConfig } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';

/**
 * When an image with this config was made, in ms since the epoch: as the store has it if it has the very same image but
 * for its times, so that a build from the cache gives that one again; else now.
 */
export async function madeAt(store: Store, config: ImageConfig): Promise<number> {
  const wanted = timeless(config);
  const length = config.history?.length;
  for (const [{ name, target }] of await recordsByTarget(store)) {
    if (isDue()) await nextTurn();
    for (const image of await storedImages(store, name, target)) {
      if (isDue()) await nextTurn();
      if (image.config.history?.length !== length) continue;
      const time = Date.parse(image.config.created ?? '');
      if (!Number.isNaN(time) && timeless(image.config) === wanted) return time;
    }
  }
  return Date.now();
}

/** A config without its times, as text. */
function timeless(config: ImageConfig): string {
  const history = (config.history ?? []).map(({ created, ...entry }) => entry);
  return JSON.stringify(Object.entries({ ...config, created: '', history }).sort());
}
