import type { DrydockError } from '../errors/error.ts';
import type { Job } from './job.ts';
import type { VertexState } from './state.ts';

/** What one solve of a build keeps alive: its vertices, from the solve's start until the build is released or the solve fails. */
export class Hold {
  readonly job: Job;
  readonly states = new Set<VertexState>();
  readonly #failed = Promise.withResolvers<never>();

  constructor(job: Job) {
    this.job = job;
    // Nobody may be listening any more when a vertex fails.
    this.#failed.promise.catch(() => {});
  }

  /** Rejects with the first failure of any vertex held; never resolves. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  fail(err: DrydockError): void {
    this.#failed.reject(err);
  }
}
