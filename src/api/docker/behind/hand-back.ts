/** Takes images over from the engine: one that a container was committed to is used here like any other. */
import { findImage, isHere } from '../../../distribution/index.ts';
import { prefixed } from '../../../errors/index.ts';
import { loadImages, tagImage } from '../../../images/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { eventImage } from '../images.ts';
import type { Behind } from './behind.ts';
import { imagePath } from './paths.ts';

/**
 * Takes over the engine's image of this ID, and names it; without a name it is kept without one. Nothing is read when it
 * is here already, as with a store that both share. Throws the errors of `loadImages`, and `unavailable`; the image
 * stays at the engine then, which the error says.
 */
export async function handBack(
  { engine, events, log }: Pick<ApiHost, 'engine' | 'events' | 'log'>,
  behind: Behind,
  id: string,
  name: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { store } = engine;
  const began = performance.now();
  try {
    if (!(await isHere(store, id))) {
      const archive = await behind.send('GET', `${imagePath(id)}/get`, { signal });
      if (archive.statusCode !== 200) throw await behind.refused(archive, `${imagePath(id)}/get`);
      await loadImages(store, archive, { signal });
      const ms = Math.round(performance.now() - began);
      log('info', 'image taken over from the engine', { image: id, ms });
    }
    if (name !== undefined) await tagImage(store, id, name);
    const { image } = await findImage(store, id);
    events.emitImage(name === undefined ? 'load' : 'tag', eventImage(image), name ?? id);
  } catch (err) {
    throw prefixed(
      err,
      `the Docker engine at ${behind.address} has the image ${id}, which could not be taken over`,
    );
  }
}
