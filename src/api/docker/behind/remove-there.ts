import { text } from 'node:stream/consumers';
import { findImage } from '../../../distribution/index.ts';
import { toDrydockError } from '../../../errors/index.ts';
import type { Store } from '../../../store/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { apiError } from '../http/errors.ts';
import type { Behind } from './behind.ts';
import { imagePath } from './paths.ts';

/** What an image lost: a name, or all of itself. */
export interface RemovedRow {
  Untagged?: string;
  Deleted?: string;
}

/**
 * Removes the engine's copy of an image that is removed here, and returns what the engine says it removed; undefined
 * when it has none. Throws `conflict`, in the engine's words, when a container uses it. An engine that cannot be reached
 * is no reason to keep the image here.
 */
export async function removeThere(
  { log, engine }: Pick<ApiHost, 'log' | 'engine'>,
  behind: Behind,
  name: string,
  force: boolean,
  signal: AbortSignal,
): Promise<RemovedRow[] | undefined> {
  for (const its of await namesThere(engine.store, name)) {
    const path = `${imagePath(its)}?force=${force}`;
    const answer = await behind.send('DELETE', path, { signal }).catch((err) => {
      log('warn', 'the image stays at the engine', { image: name, reason: String(err.message) });
      return undefined;
    });
    if (answer === undefined) return undefined;
    const body = await text(answer);
    if (answer.statusCode === 200) return JSON.parse(body) as RemovedRow[];
    if (answer.statusCode === 409) throw apiError('conflict', messageOf(body));
  }
  return undefined;
}

/**
 * Removes the engine's copies of images that were pruned here: of each the names that it had, or, of one without a name,
 * the image of these IDs, unless somebody has named it there. What a container uses stays, and so does all when the engine
 * cannot be reached.
 */
export async function pruneThere(
  { log }: Pick<ApiHost, 'log'>,
  behind: Behind,
  pruned: readonly { names: readonly string[]; ids: readonly string[] }[],
  signal: AbortSignal,
): Promise<void> {
  const remove = async (name: string) => {
    (await behind.send('DELETE', `${imagePath(name)}?force=false`, { signal })).resume();
  };
  try {
    for (const { names, ids } of pruned) {
      for (const name of names) await remove(name);
      for (const id of names.length > 0 ? [] : ids) {
        const there = await behind.json<{ RepoTags?: string[] | null }>(`${imagePath(id)}/json`, signal);
        if (there !== undefined && (there.RepoTags ?? []).length === 0) await remove(id);
      }
    }
  } catch (err) {
    log('warn', 'pruned images stay at the engine', { reason: (err as Error).message });
  }
}

/** What the engine may call an image: its name, or for an ID the digests that an engine on a containerd goes by. */
async function namesThere(store: Store, name: string): Promise<string[]> {
  try {
    const { by, records, image } = await findImage(store, name);
    if (by === 'name') return [name];
    return [...new Set([image.id, ...records.map(({ target }) => target.digest), image.manifest.digest])];
  } catch (err) {
    const { code } = toDrydockError(err);
    if (code === 'not-found') return [name];
    throw err;
  }
}

function messageOf(body: string): string {
  try {
    return (JSON.parse(body) as { message?: string }).message ?? body;
  } catch {
    return body;
  }
}
