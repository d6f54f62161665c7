/** Removes the engine's copies of images that are removed here. */
import { text } from 'node:stream/consumers';
import type { Authority } from '../../../auth/index.ts';
import { toDrydockError } from '../../../errors/index.ts';
import { checkRemoval } from '../../../images/index.ts';
import type { Store } from '../../../store/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { apiError } from '../http/errors.ts';
import type { Behind } from './behind.ts';
import { imagePath } from './engine-images.ts';

/** What an image lost: a name, or all of itself. */
export interface RemovedRow {
  Untagged?: string;
  Deleted?: string;
}

/** Who removes an image: with `engine:write`, whatever has its name at the engine; otherwise only the very same image. */
type Remover = Pick<Authority, 'scopes'>;

/**
 * Removes the engine's copy of an image that is removed here, and returns what the engine says it removed; undefined
 * when it has none, or what it has is another image that this caller may not remove. Throws the conflicts of
 * `checkRemoval` before anything is removed, and `conflict`, in the engine's words, when a container uses it. An engine
 * that cannot be reached is no reason to keep the image here.
 */
export async function removeThere(
  { log, engine }: Pick<ApiHost, 'log' | 'engine'>,
  behind: Behind,
  by: Remover,
  { name, force }: { name: string; force: boolean },
  signal: AbortSignal,
): Promise<RemovedRow[] | undefined> {
  const removed: RemovedRow[] = [];
  const { names, ids } = await namesThere(engine.store, name, force);
  for (const its of names) {
    if (!(await mayRemove(behind, by, its, ids, signal))) continue;
    const path = `${imagePath(its)}?force=${force}`;
    const answer = await behind.send('DELETE', path, { signal }).catch((err) => {
      log('warn', 'the image stays at the engine', { image: name, reason: String(err.message) });
      return undefined;
    });
    if (answer === undefined) break;
    const body = await text(answer);
    if (answer.statusCode === 200) removed.push(...rowsOf(body));
    if (answer.statusCode === 409) throw apiError('conflict', messageOf(body));
  }
  return removed.length === 0 ? undefined : removed;
}

/**
 * Removes the engine's copies of images that were pruned here: of each the names that it had, or, of one without a name,
 * the image of these IDs, unless somebody has named it there. What a container uses stays, and so does all when the engine
 * cannot be reached.
 */
export async function pruneThere(
  { log }: Pick<ApiHost, 'log'>,
  behind: Behind,
  by: Remover,
  pruned: readonly { names: readonly string[]; ids: readonly string[] }[],
  signal: AbortSignal,
): Promise<void> {
  const remove = async (name: string) => {
    (await behind.send('DELETE', `${imagePath(name)}?force=false`, { signal })).resume();
  };
  try {
    for (const { names, ids } of pruned) {
      for (const name of names) if (await mayRemove(behind, by, name, ids, signal)) await remove(name);
      for (const id of names.length > 0 ? [] : ids) {
        const there = await behind.json<{ RepoTags?: string[] | null }>(`${imagePath(id)}/json`, signal);
        if (there !== undefined && (there.RepoTags ?? []).length === 0) await remove(id);
      }
    }
  } catch (err) {
    log('warn', 'pruned images stay at the engine', { reason: (err as Error).message });
  }
}

/** Whether a caller may have the engine remove what it has under a name. `ids`: the image as it is here. */
async function mayRemove(
  behind: Behind,
  { scopes }: Remover,
  name: string,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  if (scopes.has('engine:write')) return true;
  const there = await behind.json<{ Id?: string }>(`${imagePath(name)}/json`, signal).catch(() => undefined);
  return there?.Id !== undefined && ids.includes(there.Id);
}

/**
 * What the engine may call an image: its name, or for an ID the digests that an engine on a containerd goes by; and these
 * digests. There, one image may have several: names that were given to it by archives of other forms.
 */
async function namesThere(
  store: Store,
  name: string,
  force: boolean,
): Promise<{ names: string[]; ids: string[] }> {
  try {
    const { by, records, image } = await checkRemoval(store, name, { force });
    const ids = [
      ...new Set([image.id, ...records.map(({ target }) => target.digest), image.manifest.digest]),
    ];
    return { names: by === 'name' ? [name] : ids, ids };
  } catch (err) {
    const { code } = toDrydockError(err);
    if (code === 'not-found') return { names: [name], ids: [] };
    throw err;
  }
}

/** The rows of the engine's answer; none when it is something else. */
function rowsOf(body: string): RemovedRow[] {
  try {
    const rows = JSON.parse(body) as RemovedRow[];
    return Array.isArray(rows) ? rows : [];
  } catch {
    return [];
  }
}

function messageOf(body: string): string {
  try {
    return (JSON.parse(body) as { message?: string }).message ?? body;
  } catch {
    return body;
  }
}
