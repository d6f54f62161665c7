/** `q=1`: nothing but the image's ID, or the error with the last lines of the failed step. */
import type { BuildResult } from '../../../build/types.ts';
import type { DrydockError } from '../../../errors/error.ts';
import type { ProgressSink } from '../../../solver/progress.ts';
import { buildMessage } from '../http/errors.ts';
import type { JsonStream } from '../http/json-stream.ts';
import type { Teller } from './teller.ts';

export class QuietTeller implements Teller {
  readonly sink: ProgressSink = { vertex() {}, status() {}, log() {}, warning() {} };
  readonly #stream: JsonStream;

  constructor(stream: JsonStream) {
    this.#stream = stream;
  }

  note(): void {}

  async finish({ imageId }: BuildResult): Promise<void> {
    if (imageId !== undefined) this.#stream.write({ stream: `${imageId}\n` });
  }

  fail(error: DrydockError): string {
    return buildMessage(error, true);
  }
}
