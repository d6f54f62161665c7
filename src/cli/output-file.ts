/** A file that appears under its name only when it is whole. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Opens `path` for writing beside itself: `finish` moves it into place, `abandon` removes what was written. */
export class OutputFile {
  readonly #path: string;
  readonly #temporary: string;
  #opened = false;

  constructor(path: string) {
    this.#path = path;
    this.#temporary = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  }

  async open(): Promise<WriteStream> {
    await mkdir(dirname(this.#path), { recursive: true });
    this.#opened = true;
    return createWriteStream(this.#temporary, { highWaterMark: 1 << 20 });
  }

  async finish(): Promise<void> {
    if (this.#opened) await rename(this.#temporary, this.#path);
  }

  async abandon(): Promise<void> {
    await rm(this.#temporary, { force: true });
  }
}
