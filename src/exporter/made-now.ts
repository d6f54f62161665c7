/** Dates images whose build changed only the config. Docker's old builder gives them the time of their making. */
import { recordsByTarget, storedImages } from '../distribution/index.ts';
import type { ImageConfig } from '../oci/index.ts';
import type { Store } from '../store/index.ts';
import { isDue, nextTurn } from '../workers/index.ts';

/**
 * The date of an image with this config, in ms since the epoch. When the store has an image that is equal but for its
 * times, it is that image's, so that a build from the cache gives the same image again; otherwise it is the present.
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

/** The text of a config without its times. */
function timeless(config: ImageConfig): string {
  const history = (config.history ?? []).map(({ created, ...entry }) => entry);
  return JSON.stringify(Object.entries({ ...config, created: '', history }).sort());
}
