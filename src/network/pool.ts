/** Keeps namespaces ready, so that a step does not wait for its network. */
import { closeFd } from '../linux/index.ts';
import type { Prepared, Provider } from './provider.ts';

/**
 * A pool of prepared namespaces. As many are kept ready as were asked for at once lately, up to `most`: the next steps
 * find theirs made. Each serves one step and is thrown away after it.
 */
export class Pool {
  readonly #provider: Provider;
  readonly #most: number;
  readonly #ready: Prepared[] = [];
  readonly #making = new Set<Promise<void>>();
  /** So many are held by steps. */
  #used = 0;
  #peak = 1;
  #isClosed = false;

  constructor(provider: Provider, most: number) {
    this.#provider = provider;
    this.#most = most;
  }

  /** Makes the first one. Throws what keeps it from being made. */
  async begin(): Promise<void> {
    this.#ready.push(await this.#provider.prepare(false));
  }

  /** One that is ready, or a new one. The caller disposes of it. */
  async take(): Promise<Prepared> {
    const ready = this.#ready.shift();
    this.#used++;
    this.#peak = Math.min(this.#most, Math.max(this.#peak, this.#used));
    this.#fill();
    return this.#counted(ready ?? (await this.#make()));
  }

  async #make(): Promise<Prepared> {
    try {
      return await this.#provider.prepare(false);
    } catch (err) {
      this.#used--;
      throw err;
    }
  }

  #counted(prepared: Prepared): Prepared {
    return {
      ...prepared,
      dispose: () => {
        this.#used--;
        prepared.dispose();
      },
    };
  }

  #fill(): void {
    while (!this.#isClosed && this.#ready.length + this.#making.size < Math.min(this.#peak, this.#most)) {
      const making = this.#provider.prepare(false).then(
        (prepared) => {
          if (this.#isClosed) discard(prepared);
          else this.#ready.push(prepared);
        },
        // The step that needs one hears why it cannot be made.
        () => {},
      );
      this.#making.add(making);
      void making.then(() => this.#making.delete(making));
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#making);
    for (const prepared of this.#ready.splice(0)) discard(prepared);
  }
}

/** Disposes of one that no step has taken. */
function discard({ dns, dispose }: Prepared): void {
  closeFd(dns.udp);
  closeFd(dns.tcp);
  dispose();
}
