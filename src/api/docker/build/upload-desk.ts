/**
 * The place where one request leaves its body for another. docker's CLI posts a build's files with
 * `buildid=upload-request:ID`, and the build itself with `remote=upload-request&buildid=ID`. Either request may come
 * first.
 */
import type { Readable } from 'node:stream';
import { canceled } from '../../../errors/index.ts';
import { apiError } from '../http/errors.ts';

/** How long one request waits for the other, in ms, as in dockerd. */
const patience = 5_000;

/** The place of an upload: an ID that the client has made up for both requests. */
interface UploadPlace {
  /** The one who asks (`identityKey`). Nobody gets at another's uploads, or puts one in their place. */
  owner: string;
  id: string;
}

interface UploadSlot {
  body: Readable | undefined;
  taken: PromiseWithResolvers<void>;
  brought: PromiseWithResolvers<Readable>;
}

/** The uploads of a daemon that wait for their builds, and the builds that wait for their uploads. */
export class UploadDesk {
  readonly #places = new Map<string, UploadSlot>();
  readonly #patience: number;

  constructor(patienceMs = patience) {
    this.#patience = patienceMs;
  }

  /**
   * Leaves a body. Resolves when a build has taken it and is done with it. Throws `not-found` when no build comes, and
   * `conflict` when there is a body under this ID.
   */
  async leave(at: UploadPlace, body: Readable, signal: AbortSignal): Promise<void> {
    const place = this.#place(at);
    if (place.body !== undefined) throw apiError('conflict', `there is an upload for build ${at.id} already`);
    place.body = body;
    place.brought.resolve(body);
    const done = new Promise<void>((resolve) => body.once('close', () => resolve()));
    const what = 'upload-request: no build has asked for this upload';
    await this.#wait(at, place.taken.promise, what, signal);
    await done;
  }

  /** Takes the body that was left under an ID. Throws `not-found` when none comes. */
  async take(at: UploadPlace, signal: AbortSignal): Promise<Readable> {
    const place = this.#place(at);
    const what = 'upload-request: the upload that this build is to use has not come';
    const body = await this.#wait(at, place.brought.promise, what, signal);
    place.taken.resolve();
    this.#places.delete(keyOf(at));
    return body;
  }

  #place(at: UploadPlace): UploadSlot {
    const key = keyOf(at);
    let place = this.#places.get(key);
    if (place === undefined) {
      place = { body: undefined, taken: Promise.withResolvers(), brought: Promise.withResolvers() };
      this.#places.set(key, place);
    }
    return place;
  }

  async #wait<T>(at: UploadPlace, what: Promise<T>, message: string, signal: AbortSignal): Promise<T> {
    const { id } = at;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () =>
        late.reject(
          apiError(
            'not-found',
            `${message} within ${this.#patience / 1000} s`,
            `Post the files with buildid=upload-request:${id}, and the build with remote=upload-request&buildid=${id}.`,
          ),
        ),
      this.#patience,
    );
    const gone = () => late.reject(canceled(signal.reason));
    if (signal.aborted) gone();
    signal.addEventListener('abort', gone, { once: true });
    try {
      return await Promise.race([what, late.promise]);
    } catch (err) {
      this.#places.delete(keyOf(at));
      throw err;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', gone);
    }
  }
}

function keyOf({ owner, id }: UploadPlace): string {
  return JSON.stringify([owner, id]);
}
