/** Sends the layers of an exported cache, some at once, each as soon as it is packed. */
import type { CacheLayer } from '../exporter/index.ts';
import { Limiter } from '../flow/index.ts';
import type { Digest } from '../oci/index.ts';

export class Sending {
  readonly #send: (layer: CacheLayer) => Promise<void>;
  readonly #stop: AbortController;
  readonly #limiter: Limiter;
  readonly #sent = new Map<Digest, Promise<void>>();
  #failure: { cause: unknown } | undefined;

  /** `stop` is fired when a layer cannot be sent: what is still being packed is of no use then. */
  constructor(atOnce: number, stop: AbortController, send: (layer: CacheLayer) => Promise<void>) {
    this.#limiter = new Limiter(atOnce);
    this.#stop = stop;
    this.#send = send;
  }

  /** Sends a layer once. The promise is settled when it is there. */
  layer(layer: CacheLayer): Promise<void> {
    const { digest } = layer.descriptor;
    const known = this.#sent.get(digest);
    if (known !== undefined) return known;
    const sent = this.#limiter.run(() => this.#send(layer), this.#stop.signal);
    this.#sent.set(digest, sent);
    sent.catch((cause) => {
      this.#failure ??= { cause };
      this.#stop.abort(cause);
    });
    return sent;
  }

  /**
   * Does the work of an export. When it fails, or a layer does, all that is under way is stopped and waited for, and
   * the first failure is thrown.
   */
  async during<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      this.#failure ??= { cause: err };
      this.#stop.abort(err);
      await Promise.allSettled(this.#sent.values());
      throw this.#failure.cause;
    }
  }
}
