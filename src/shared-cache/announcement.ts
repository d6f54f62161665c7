/**
 * Files at once that a step was made, while its layers are still packed and sent: others find it within the second, and
 * wait for its layers where they need them. The writer says again and again that it is at it, so that one that dies is
 * not waited for.
 */
import type { Digest } from '../oci/index.ts';
import { beatEvery, type Entry, mayCome } from './entry.ts';
import type { SharedPlace } from './place.ts';

/** How long layers may take before it is said that they are coming, ms: small ones are there sooner. */
const patience = 200;

/** What is said of one step. Call `end` before the entry itself is filed, and in any case. */
export class Announcement {
  readonly #place: SharedPlace;
  readonly #keys: readonly Digest[];
  readonly #entry: Omit<Entry, 'coming' | 'outputs'>;
  readonly #about: { writer: string; took: number; outputs: number };
  readonly #signal: AbortSignal;
  #beat = 0;
  #timer: NodeJS.Timeout | undefined;
  #saying: Promise<void> | undefined;

  constructor(
    place: SharedPlace,
    entry: Omit<Entry, 'coming' | 'outputs'> & { keys: readonly Digest[] },
    about: { writer: string; took: number; outputs: number },
    signal: AbortSignal,
  ) {
    const { keys, id, description } = entry;
    this.#place = place;
    this.#keys = keys;
    this.#entry = { id, description };
    this.#about = about;
    this.#signal = signal;
    this.#again(patience);
  }

  /** Says nothing more. When it settles, nothing is under way. Never rejects. */
  async end(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#saying;
  }

  #again(after: number): void {
    this.#timer = setTimeout(() => {
      this.#saying = this.#say().then(
        () => {
          if (this.#timer !== undefined && !this.#signal.aborted) this.#again(beatEvery);
        },
        // Without it, others find the step when its layers are there.
        () => {},
      );
    }, after);
    this.#timer.unref();
  }

  async #say(): Promise<void> {
    const call = { signal: this.#signal };
    await Promise.all(
      this.#keys.map(async (key) => {
        // Another's entry whose layers are there, or are coming, is as good, and stays.
        const found = await this.#place.find(key, call).catch(() => undefined);
        const coming = found?.entry.coming;
        const isOurs = coming?.writer === this.#about.writer;
        if (found !== undefined && coming === undefined) return;
        if (coming !== undefined && !isOurs && mayCome(coming, found?.modified, Date.now())) return;
        const said = { beat: this.#beat, at: Date.now(), ...this.#about };
        await this.#place.file(key, { ...this.#entry, outputs: [], coming: said }, call);
      }),
    );
    this.#beat++;
  }
}
