/**
 * `q=1`: writes the image's ID and nothing else. When the build fails, it writes everything that a loud teller would
 * have written.
 */
import type { BuildResult } from '../../../engine/index.ts';
import type { DrydockError } from '../../../errors/index.ts';
import type { ProgressSink } from '../../../progress/index.ts';
import type { ObjectSink } from '../http/json-stream.ts';
import { HeldObjects } from './held-objects.ts';
import type { MadeImage, Teller } from './teller.ts';

/** The teller of a quiet build. */
export class QuietTeller implements Teller {
  readonly sink: ProgressSink;
  readonly onPlan: Teller['onPlan'];
  readonly #stream: ObjectSink;
  readonly #held = new HeldObjects();
  readonly #inner: Teller;

  /** `loud` makes the teller of a build that is not quiet. */
  constructor(stream: ObjectSink, loud: (stream: ObjectSink) => Teller) {
    this.#stream = stream;
    this.#inner = loud(this.#held);
    this.sink = this.#inner.sink;
    this.onPlan = this.#inner.onPlan;
  }

  async finish(result: BuildResult, made: MadeImage): Promise<void> {
    // What it holds goes with it.
    await this.#inner.finish(result, made);
    const { imageId } = result;
    if (imageId !== undefined) this.#stream.write({ stream: `${imageId}\n` });
  }

  async fail(error: DrydockError): Promise<string> {
    const message = await this.#inner.fail(error);
    this.#held.release(this.#stream);
    return message;
  }
}
