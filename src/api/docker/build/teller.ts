/** How a build's progress and its end are told to the client; one kind per builder version. */
import type { BuildResult } from '../../../engine/index.ts';
import type { DrydockError } from '../../../errors/index.ts';
import type { FrontendResult } from '../../../frontend/index.ts';
import type { ProgressSink } from '../../../progress/index.ts';

/** What is known of the image that was built. */
export interface MadeImage {
  /** As people write them. */
  tags: readonly string[];
  /** It was in the store already. */
  wasThere: boolean;
}

export interface Teller {
  readonly sink: ProgressSink;
  /** Is told what is going to be built. */
  readonly onPlan?: (plan: FrontendResult) => Promise<void>;
  /** Tells what has happened until now, as far as the client reads; resolves when it is out. */
  finish(result: BuildResult, made: MadeImage): Promise<void>;
  /** The last objects of a failed build; gives the message to end with. */
  fail(error: DrydockError): string;
}
