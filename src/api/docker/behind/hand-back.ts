/** Takes images over from the engine: one that a container was committed to is used here like any other. */
import type { Readable } from 'node:stream';
import { findImage, isHere, withLease } from '../../../distribution/index.ts';
import { prefixed, toDrydockError } from '../../../errors/index.ts';
import { knownLayers, loadImages, tagImage } from '../../../images/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { eventImage } from '../images.ts';
import type { Behind } from './behind.ts';
import { type EngineImage, imagePath, keepsInContainerd } from './engine-images.ts';

/**
 * Takes over the engine's image of this ID, and names it; without a name it is kept without one. Nothing is read when it
 * is here already, as with a store that both share. Of layers that are here nothing is kept a second time; the engine
 * sends them all the same, as its API has no other way. Throws the errors of `loadImages`, and `unavailable`; the image
 * stays at the engine then, which the error says.
 */
export async function handBack(
  host: Pick<ApiHost, 'engine' | 'events' | 'log'>,
  behind: Behind,
  id: string,
  name: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { store } = host.engine;
  try {
    if (!(await isHere(store, id))) await take(host, behind, id, signal);
    if (name !== undefined) await tagImage(store, id, name);
    const { image } = await findImage(store, id);
    host.events.emitImage(name === undefined ? 'load' : 'tag', eventImage(image), name ?? id);
  } catch (err) {
    throw prefixed(
      err,
      `the Docker engine at ${behind.address} has the image ${id}, which could not be taken over`,
    );
  }
}

async function take(
  { engine: { store }, log }: Pick<ApiHost, 'engine' | 'log'>,
  behind: Behind,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const began = performance.now();
  const archive = async (): Promise<Readable> => {
    const answer = await behind.send('GET', `${imagePath(id)}/get`, { signal });
    if (answer.statusCode !== 200) throw await behind.refused(answer, `${imagePath(id)}/get`);
    return answer;
  };
  const image = await behind.json<EngineImage>(`${imagePath(id)}/json`, signal);
  const inArchive = (await keepsInContainerd(behind, signal)) ? 'same' : 'diff-id';
  const left = await withLease(store, undefined, async (lease) => {
    const known = await knownLayers(store, image?.RootFS?.Layers ?? [], lease, inArchive);
    try {
      await loadImages(store, await archive(), { lease, known, signal });
      return known.layers.size;
    } catch (err) {
      if (known.layers.size === 0 || toDrydockError(err).code !== 'corrupt') throw err;
      // It packs its archives in a way of its own.
      log('warn', 'the image is taken over whole', { image: id, reason: (err as Error).message });
      await loadImages(store, await archive(), { signal });
      return 0;
    }
  });
  await store.gc();
  const ms = Math.round(performance.now() - began);
  log('info', 'image taken over from the engine', { image: id, leftOut: left, ms });
}
