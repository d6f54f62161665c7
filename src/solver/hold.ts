import type { DrydockError } from '../errors/index.ts';
import type { Job } from './job.ts';
import type { VertexState } from './state.ts';

/**
 * One solve of a build, and the vertices it keeps alive.
 *
 * It begins with the solve, takes hold of every vertex that the outputs need, and lets go of them when the solve fails
 * or the build is released. `VertexStates` alone begins and ends it and writes what it holds; the vertices' audiences
 * tell it of failures.
 */
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

  /** Notes that a vertex failed; the first one counts. */
  fail(err: DrydockError): void {
    this.#failed.reject(err);
  }
}
