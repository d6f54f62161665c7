/** Gives the engine an image that a container asks for: whatever is built or pulled here can be run there. */
import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { type FoundImage, findImage } from '../../../distribution/index.ts';
import { type DrydockError, fail, toDrydockError } from '../../../errors/index.ts';
import { inParallel, SingleFlight } from '../../../flow/index.ts';
import { listedImages, saveImages } from '../../../images/index.ts';
import type { Digest, Platform } from '../../../oci/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import type { Behind } from './behind.ts';
import { type EngineImage, imagePath, keepsInContainerd } from './engine-images.ts';

/** How many of the engine's images are looked at for layers that it has already. */
const looked = 300;

/** Hands images over, each once at a time. */
export class HandOver {
  readonly #behind: Behind;
  readonly #host: ApiHost;
  readonly #running = new SingleFlight();
  /** The layers of the engine's images, by the images' IDs; they never change. */
  readonly #layers = new Map<string, readonly Digest[]>();

  constructor(host: ApiHost, behind: Behind) {
    this.#host = host;
    this.#behind = behind;
  }

  /**
   * Makes sure that the engine has the image which this name stands for here. An image that is not here is none of ours:
   * the engine finds its own. Throws the error of an image that cannot be handed over.
   */
  async ensure(name: string, platform: Platform | undefined, signal: AbortSignal): Promise<void> {
    const found = await this.#find(name);
    if (found === undefined) return;
    const there = await this.#behind.json<EngineImage>(`${imagePath(name)}/json`, signal);
    const { image, record } = found;
    // An engine's ID of an image is its config's digest, or, on a containerd, that of its manifest or index.
    if (
      there !== undefined &&
      [image.id, image.manifest.digest, record.target.digest].includes(there.Id as Digest)
    )
      return;
    await this.#running.run(`${record.target.digest} ${name}`, signal, () =>
      this.#send(name, found, platform, signal),
    );
  }

  async #find(name: string): Promise<FoundImage | undefined> {
    try {
      return await findImage(this.#host.engine.store, name);
    } catch (err) {
      if (toDrydockError(err).code === 'not-found' || toDrydockError(err).code === 'invalid')
        return undefined;
      throw err;
    }
  }

  async #send(
    name: string,
    found: FoundImage,
    platform: Platform | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { log } = this.#host;
    const began = performance.now();
    let without = await this.#layersThere(found, signal);
    let trouble = await this.#load(name, platform, without, signal);
    if (trouble !== undefined && without.size > 0) {
      // It has the images, and not all of their blobs.
      log('warn', 'the engine wants the whole image', { image: name, reason: trouble });
      without = new Set();
      trouble = await this.#load(name, platform, without, signal);
    }
    if (trouble !== undefined) throw this.#refused(name, trouble);
    log('info', 'image handed over to the engine', {
      image: name,
      leftOut: without.size,
      ms: Math.round(performance.now() - began),
    });
  }

  /**
   * Has the engine load the image's archive without these blobs. Returns the engine's words when it was not content with
   * what is in it. Throws the error of an archive that cannot be made, and `unavailable`.
   */
  async #load(
    name: string,
    platform: Platform | undefined,
    without: ReadonlySet<Digest>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { engine } = this.#host;
    const archive = new PassThrough({ highWaterMark: 1 << 20 });
    const request = this.#behind.request({
      method: 'POST',
      path: '/images/load?quiet=1',
      headers: { host: 'docker', 'content-type': 'application/x-tar', 'transfer-encoding': 'chunked' },
      signal,
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('error', (err) => reject(this.#behind.unreachable(err)));
      request.once('response', resolve);
    }).then(async (answer) => ({ isOk: answer.statusCode === 200, said: await beginning(answer) }));
    archive.pipe(request);
    const saved = saveImages(engine.store, [name], archive, {
      signal,
      platforms: platform === undefined ? [] : [platform],
      without,
      client: engine.registry,
    });
    const [{ isOk, said }] = await Promise.all([answered, saved]).catch((err) => {
      request.destroy();
      throw err;
    });
    if (!isOk) return said;
    // One on a containerd tells in its ordinary words that a layer is not there.
    return said.split('\n').find((line) => line.includes('"error"') || line.includes('Error unpacking'));
  }

  #refused(name: string, text: string): DrydockError {
    return fail(
      'failed',
      'host',
      `the Docker engine at ${this.#behind.address} does not take the image ${name}: ${text.trim().slice(0, 500)}`,
    );
  }

  /**
   * The blobs of the image's lowest layers that the engine has: it takes an archive without them. An engine with a
   * graph driver knows layers by their contents. One that keeps its images in a containerd has the very blobs of those
   * images that are here, too.
   */
  async #layersThere({ image }: FoundImage, signal: AbortSignal): Promise<ReadonlySet<Digest>> {
    const [isContainerd, list] = await Promise.all([
      keepsInContainerd(this.#behind, signal),
      this.#behind.json<EngineImage[]>('/images/json', signal),
    ]);
    if (!Array.isArray(list)) return new Set();
    if (isContainerd) {
      const there = new Set(list.map(({ Id }) => Id));
      const same = (await listedImages(this.#host.engine.store)).filter(
        ({ records, image: { manifest } }) =>
          there.has(manifest.digest) || records.some(({ target }) => there.has(target.digest)),
      );
      return new Set(same.flatMap(({ image: { document } }) => document.layers.map(({ digest }) => digest)));
    }
    const own = image.config.rootfs.diff_ids;
    let most = 0;
    const ids = list.slice(0, looked).map(({ Id }) => Id);
    const unknown = ids.filter((id) => !this.#layers.has(id));
    await inParallel(unknown, async (id) => {
      const whole = await this.#behind.json<EngineImage>(`${imagePath(id)}/json`, signal);
      this.#layers.set(id, whole?.RootFS?.Layers ?? []);
    });
    for (const id of ids) {
      const layers = this.#layers.get(id) ?? [];
      let same = 0;
      while (same < own.length && own[same] === layers[same]) same++;
      most = Math.max(most, same);
    }
    return new Set(image.document.layers.slice(0, most).map(({ digest }) => digest));
  }
}

/** The first 64 KiB of an answer; the rest is read and dropped. */
async function beginning(answer: IncomingMessage): Promise<string> {
  let text = '';
  answer.setEncoding('utf8');
  for await (const chunk of answer) if (text.length < 1 << 16) text += chunk;
  return text;
}
