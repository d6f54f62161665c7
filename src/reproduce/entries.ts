/** A layer's archive as a stream of its entries, each with its bytes. */
import { decompressFile, type TarEntry, TarParser } from '../tar/index.ts';

type Event = { entry: TarEntry } | { data: Buffer } | 'end';

/** Reads a layer's file entry by entry; of its bytes it holds no more than one read of the file. */
export class LayerEntries {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #parser: TarParser;
  #events: Event[] = [];
  #at = 0;
  #ended = false;

  /** `file` is the path of a layer with any compression. */
  constructor(file: string) {
    this.#chunks = decompressFile(file, { hop: 'file' })[Symbol.asyncIterator]();
    this.#parser = new TarParser({
      entry: (entry) => this.#events.push({ entry }),
      data: (chunk) => this.#events.push({ data: Buffer.from(chunk) }),
      end: () => this.#events.push('end'),
    });
  }

  /** The next entry; undefined after the last one. What is left of the bytes of the one before is passed over. */
  async next(): Promise<TarEntry | undefined> {
    for (;;) {
      const event = await this.#event();
      if (event === undefined) return undefined;
      if (event !== 'end' && 'entry' in event) return event.entry;
    }
  }

  /** The next bytes of the entry; undefined after the last ones. */
  async bytes(): Promise<Buffer | undefined> {
    for (;;) {
      const event = await this.#event();
      if (event === undefined || event === 'end') return undefined;
      if ('data' in event && event.data.length > 0) return event.data;
    }
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #event(): Promise<Event | undefined> {
    while (this.#at >= this.#events.length) {
      if (this.#ended) return undefined;
      this.#events = [];
      this.#at = 0;
      const { value, done } = await this.#chunks.next();
      if (done === true) {
        this.#parser.finish();
        this.#ended = true;
      } else this.#parser.push(value);
    }
    return this.#events[this.#at++];
  }
}
