/** Images that the engine alone has, as pulled there before: they are listed, looked at, used and pruned with ours. */
import { text } from 'node:stream/consumers';
import type { Authority } from '../../../auth/index.ts';
import { isHere } from '../../../distribution/index.ts';
import { type ListedImage, listedImages } from '../../../images/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { type Behind, besideMs } from './behind.ts';
import { type EngineImage, imagePath } from './engine-images.ts';
import { handBack } from './hand-back.ts';
import type { RemovedRow } from './remove-there.ts';

/** The parts of docker's ImageSummary that are looked at; the others are passed on as they came. */
export interface EngineSummary extends EngineImage {
  Created: number;
  Size: number;
  Containers?: number;
}

/** The engine behind, for those who may look at it. */
export function seenBehind({ behind }: Pick<ApiHost, 'behind'>, authority: Authority): Behind | undefined {
  return authority.scopes.has('engine:read') ? behind : undefined;
}

/**
 * Those of the engine's images that are not ours, each with the names that nothing has here. An image that is here, too,
 * is among them only for names that it has there alone. Pure.
 */
export function onlyThere<T extends EngineImage>(theirs: readonly T[], ours: readonly ListedImage[]): T[] {
  const known = new Set<string>();
  const names = new Set<string>();
  for (const { id, records, images, tags, digests } of ours) {
    known.add(id);
    for (const { target } of records) known.add(target.digest);
    for (const { id: its, manifest } of images) known.add(its).add(manifest.digest);
    for (const name of [...tags, ...digests]) names.add(name);
  }
  return theirs.flatMap((image) => {
    const left = (list: readonly string[] | null | undefined) =>
      (list ?? []).filter((name) => !names.has(name) && !name.startsWith('<none>'));
    const [RepoTags, RepoDigests] = [left(image.RepoTags), left(image.RepoDigests)];
    const wasNamed = (image.RepoTags ?? []).some((name) => !name.startsWith('<none>'));
    if (RepoTags.length === 0 && (wasNamed || known.has(image.Id))) return [];
    return [{ ...image, RepoTags, RepoDigests }];
  });
}

/**
 * The images that the engine alone has and that a query of `GET /images/json` means, newest first. None while the engine
 * cannot be reached, or when it does not know what is asked for.
 */
export async function imagesThere(
  behind: Behind | undefined,
  ours: readonly ListedImage[],
  { version, search = '', signal }: { version: string; search?: string; signal: AbortSignal },
): Promise<EngineSummary[]> {
  if (behind === undefined) return [];
  const path = await behind.pathAt(version, `/images/json${search}`);
  const theirs = await behind.json<EngineSummary[]>(path, signal, besideMs).catch(() => undefined);
  return onlyThere(Array.isArray(theirs) ? theirs : [], ours);
}

/** What the engine says of an image that it alone has, by its name or ID; undefined for other images. */
export async function lookThere(
  { engine }: Pick<ApiHost, 'engine'>,
  behind: Behind,
  name: string,
  signal: AbortSignal,
): Promise<EngineImage | undefined> {
  if (name === '' || (await isHere(engine.store, name))) return undefined;
  return behind.json<EngineImage>(`${imagePath(name)}/json`, signal, besideMs).catch(() => undefined);
}

/**
 * Takes an image over that the engine alone has, by this name or ID, with those of its names that nothing has here. Other
 * images stay as they are, and keep their names.
 */
export async function bringHere(
  host: Pick<ApiHost, 'engine' | 'events' | 'log'>,
  behind: Behind,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const there = await lookThere(host, behind, name, signal);
  if (there === undefined) return;
  let isNamed = false;
  for (const each of there.RepoTags ?? []) {
    if (await isHere(host.engine.store, each)) continue;
    await handBack(host, behind, there.Id, each, signal);
    isNamed = true;
  }
  if (!isNamed) await handBack(host, behind, there.Id, undefined, signal);
}

/** Prunes the engine's own images by the filters of the request. Tells what went; nothing when it cannot be reached. */
export async function pruneOnlyThere(
  { log, engine }: Pick<ApiHost, 'log' | 'engine'>,
  behind: Behind,
  filters: string,
  signal: AbortSignal,
): Promise<{ rows: RemovedRow[]; reclaimed: number }> {
  const nothing = { rows: [], reclaimed: 0 };
  try {
    const path = `/images/prune?filters=${encodeURIComponent(filters)}`;
    const answer = await behind.send('POST', path, { signal });
    const body = await text(answer);
    if (answer.statusCode !== 200) throw await behind.refused(answer, path);
    const report = JSON.parse(body) as { ImagesDeleted?: RemovedRow[] | null; SpaceReclaimed?: number };
    const known = new Set<string>(
      (await listedImages(engine.store)).flatMap(({ id, tags }) => [id, ...tags]),
    );
    const rows = (report.ImagesDeleted ?? []).filter(
      ({ Untagged, Deleted }) => !known.has(Untagged ?? Deleted ?? ''),
    );
    return { rows, reclaimed: report.SpaceReclaimed ?? 0 };
  } catch (err) {
    log('warn', 'images of the engine are not pruned', { reason: (err as Error).message });
    return nothing;
  }
}
