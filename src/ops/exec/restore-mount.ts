/** Brings a step's cache mount back from the caches that the build has named, before the step takes it. */
import { DrydockError } from '../../errors/index.ts';
import type { KeptFolders, KeptKey } from '../../kept/index.ts';
import { refContext, type WorkContext } from '../../solver/index.ts';
import type { Store } from '../../store/index.ts';

/**
 * Brings the newest state that a foreign cache of the builds has of a mount, when the mount here is empty or older. One
 * that cannot be brought is a warning, and the step goes on with what is here. Throws `canceled`.
 */
export async function restoreCacheMount(
  store: Store,
  caches: KeptFolders,
  key: KeptKey,
  ctx: WorkContext,
): Promise<void> {
  const found = (await ctx.cacheMount?.(key.key)) ?? [];
  if (found.length === 0) return;
  // Loaded only where there is one.
  const { bringMount } = await import('../../cache-mounts/bring.ts');
  for (const mount of [...found].sort((a, b) => b.madeAt - a.madeAt)) {
    try {
      await bringMount(store, caches, key, mount, refContext(ctx));
      return;
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code === 'canceled') throw err;
      ctx.progress.warn({
        level: 1,
        short: `importing cache mount ${key.key} from ${mount.cache}: ${err.message}; the step goes on with what is here`,
        detail: err.hint === undefined ? [] : [err.hint],
      });
    }
  }
}
