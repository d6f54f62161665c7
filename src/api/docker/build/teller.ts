/**
 * A teller writes the progress and the end of a build to the client. There is one kind for each version of the builder.
 */
import type { BuildResult } from '../../../engine/index.ts';
import type { DrydockError } from '../../../errors/index.ts';
import type { FrontendResult } from '../../../frontend/index.ts';
import type { ProgressSink } from '../../../progress/index.ts';

/** The facts about the image that was built. */
export interface MadeImage {
  /** Its tags, as people write them. */
  tags: readonly string[];
  /** Whether it was in the store already. */
  wasThere: boolean;
}

/**
 * The teller of one build. Its `sink` and `onPlan` hear of the build while it runs; then either `finish` or `fail` is
 * called, once.
 */
export interface Teller {
  readonly sink: ProgressSink;
  /** Hears what is going to be built. */
  readonly onPlan?: (plan: FrontendResult) => Promise<void>;
  /** Writes everything that has happened until now, as far as the client reads; resolves when it is out. */
  finish(result: BuildResult, made: MadeImage): Promise<void>;
  /** Writes the last objects of a failed build, as far as the client reads. Gives the message to end with. */
  fail(error: DrydockError): string | Promise<string>;
}
