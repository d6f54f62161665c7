import type { History } from '../buildkit/history/history.ts';
import type { Jobs } from '../buildkit/jobs/jobs.ts';

/** The running builds and the history, as BuildKit's API has them, for those who show them. */
export interface Observed {
  readonly jobs: Jobs;
  readonly history: History;
}
