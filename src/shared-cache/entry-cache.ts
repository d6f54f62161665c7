import type { Refs } from '../refs/index.ts';
import type { ForeignCache } from '../solver/index.ts';
import type { Ref, RefContext } from '../store/index.ts';
import { ComingTree } from './coming-tree.ts';
import type { Coming, Entry } from './entry.ts';
import type { SharedPlace } from './place.ts';

/** An entry as a foreign cache whose records are its outputs. */
export class EntryCache implements ForeignCache {
  readonly name: string;
  readonly #deps: { place: SharedPlace; refs: Refs };
  readonly #entry: Entry;
  readonly #arrive: (coming: Coming, signal: AbortSignal) => Promise<Entry | undefined>;

  /** `arrive`: waits for layers that are coming. */
  constructor(
    deps: { name: string; place: SharedPlace; refs: Refs },
    entry: Entry,
    arrive: (coming: Coming, signal: AbortSignal) => Promise<Entry | undefined>,
  ) {
    this.name = deps.name;
    this.#deps = deps;
    this.#entry = entry;
    this.#arrive = arrive;
  }

  match(): number[] {
    return [];
  }

  has(): boolean {
    return false;
  }

  leaves(): [] {
    return [];
  }

  hasResult(output: number): boolean {
    const { coming, outputs } = this.#entry;
    return coming === undefined ? outputs[output] !== undefined : output < coming.outputs;
  }

  async restore(
    output: number,
    { signal = new AbortController().signal }: RefContext,
  ): Promise<Ref | undefined> {
    const { coming, id } = this.#entry;
    if (coming === undefined) return this.#tree(this.#entry, output);
    return new ComingTree(`${id}@${output}`, async () => {
      const entry = await this.#arrive(coming, signal);
      return entry && this.#tree(entry, output);
    });
  }

  #tree({ outputs }: Entry, output: number): Ref | undefined {
    const layers = outputs[output];
    if (layers === undefined) return undefined;
    return layers.length === 0 ? this.#deps.refs.empty() : this.#deps.place.tree(layers);
  }
}
