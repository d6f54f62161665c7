/** Says why steps were not cached. What does it is loaded with the first step that runs: a cached build does without. */
import { join } from 'node:path';
import type { Digest } from '../oci/index.ts';
import type { StepUsage } from '../progress/index.ts';
import type { Miss, MissTeller } from '../solver/index.ts';
import { noteCached } from './cached-builds.ts';
import type { Comparison } from './comparison.ts';

export class Explainer implements MissTeller {
  readonly #folder: string;
  /** SQLite file that keeps the lists of files that content digests cover. */
  readonly listDb: string;
  #loading: Promise<Comparison> | undefined;
  #comparison: Comparison | undefined;

  /** `folder`: where `explain.db` and `lists.db` are. */
  constructor(folder: string) {
    this.#folder = folder;
    this.listDb = join(folder, 'lists.db');
  }

  async why(miss: Miss): Promise<string | undefined> {
    const comparison = await this.#load().catch(() => undefined);
    return comparison?.why(miss);
  }

  used(miss: Miss, usage: StepUsage): void {
    this.#comparison?.used(miss, usage);
  }

  recorded(miss: Miss, took: number): void {
    this.#comparison?.recorded(miss, took);
  }

  allCached(build: Parameters<MissTeller['allCached']>[0], steps: number): void {
    try {
      noteCached(this.#folder, build, steps);
    } catch {
      // Nothing is told of it.
    }
  }

  /**
   * Notes that records are pruned. `rule`: by what, as `a prune of everything`. `everything`: nothing was to stay, so
   * that the lists of files go as well. Never rejects.
   */
  async pruned(records: readonly Digest[], rule: string, everything: boolean): Promise<void> {
    const comparison = await this.#load().catch(() => undefined);
    comparison?.pruned(records, rule, everything);
  }

  close(): void {
    this.#comparison?.close();
  }

  #load(): Promise<Comparison> {
    this.#loading ??= import('./comparison.ts').then(({ Comparison }) => {
      this.#comparison = new Comparison(this.#folder, this.listDb);
      return this.#comparison;
    });
    return this.#loading;
  }
}
