import { DrydockError, fail } from '../errors/index.ts';
import type { ContentSelector } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Ref } from '../store/index.ts';
import { contentDigest, contentSums } from './content.ts';
import type { SolverDeps } from './solver.ts';
import type { VertexState } from './state.ts';

/** As BuildKit names it, colon and all: clients show it as it is. */
const transferStatus = 'transferring context:';

/** Finds the digests of the contents of vertices' outputs, which has their results made. */
export class Contents {
  readonly #deps: Pick<SolverDeps, 'store' | 'cache' | 'listDb'>;
  readonly #result: (state: VertexState) => Promise<readonly Ref[]>;

  constructor(
    deps: Pick<SolverDeps, 'store' | 'cache' | 'listDb'>,
    result: (state: VertexState) => Promise<readonly Ref[]>,
  ) {
    this.#deps = deps;
    this.#result = result;
  }

  /** The digest of a selection of an output, found once however many vertices ask. Throws `not-found` for a path that is not there. */
  digest(state: VertexState, index: number, selectors: readonly ContentSelector[]): Promise<Digest> {
    const selection = `${index} ${JSON.stringify(selectors)}`;
    return state.findings.digest(selection, () => this.#read(state, index, selectors));
  }

  /**
   * The names that BuildKit's caches may have for a selection of an output, found once. None when it cannot be read, or
   * has no such name.
   */
  sums(state: VertexState, index: number, selectors: readonly ContentSelector[]): Promise<readonly Digest[]> {
    const selection = `${index} ${JSON.stringify(selectors)}`;
    return state.findings.sums(selection, async () => {
      const ref = (await this.#result(state))[index];
      if (ref === undefined) return [];
      try {
        return await contentSums(this.#deps, ref, selectors, state.context);
      } catch (err) {
        if (!(err instanceof DrydockError) || err.code === 'canceled') throw err;
        return [];
      }
    });
  }

  async #read(state: VertexState, index: number, selectors: readonly ContentSelector[]): Promise<Digest> {
    const { context, findings, audience } = state;
    findings.beginReading();
    try {
      const ref = (await this.#result(state))[index];
      if (ref === undefined) throw fail('invalid', 'llb', `${state.vertex.name} has no output ${index}`);
      // Of files that a client elsewhere has sent, the transfer itself is what people want to see.
      const isShown = findings.isShown(() => !audience.hasStatus(transferStatus));
      return await contentDigest(this.#deps, ref, selectors, context, (bytes) => {
        const current = findings.add(bytes);
        const done = findings.readings === 1;
        if (isShown) context.progress.report(transferStatus, { current, total: 0, done });
      });
    } finally {
      findings.endReading();
      // A client's folder is done with once all that was asked of it is read.
      if (findings.readings === 0) audience.settle();
    }
  }
}
