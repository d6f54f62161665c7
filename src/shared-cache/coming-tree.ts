/** A tree whose layers another builder is still writing: they are waited for when somebody needs them. */
import { DrydockError, fail } from '../errors/index.ts';
import { orAbort } from '../flow/index.ts';
import type { Ref, RefContext, RefLayers, SerializedRef } from '../store/index.ts';

export class ComingTree implements Ref {
  readonly id: string;
  readonly #arrive: () => Promise<Ref | undefined>;
  #arriving: Promise<Ref> | undefined;

  /** `arrive`: waits for the layers; undefined when they are not waited for any more. */
  constructor(id: string, arrive: () => Promise<Ref | undefined>) {
    this.id = id;
    this.#arrive = arrive;
  }

  async view(ctx: RefContext): ReturnType<Ref['view']> {
    return (await this.#arrived(ctx.signal)).view(ctx);
  }

  /** Throws `not-found` (hop `cache`) when the layers have not come. */
  async snapshot(ctx: RefContext): Promise<string> {
    return (await this.#arrived(ctx.signal)).snapshot(ctx);
  }

  /** None when they have not come: `snapshot` says why. */
  async layers(): Promise<RefLayers | undefined> {
    try {
      return await (await this.#arrived()).layers();
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code === 'canceled') throw err;
      return undefined;
    }
  }

  serialize(): SerializedRef | undefined {
    return undefined;
  }

  #arrived(signal?: AbortSignal): Promise<Ref> {
    this.#arriving ??= this.#arriveNow();
    return orAbort(this.#arriving, signal);
  }

  async #arriveNow(): Promise<Ref> {
    const tree = await this.#arrive();
    if (tree !== undefined) return tree;
    const error = fail('not-found', 'cache', 'the builder that has made it does not bring its layers');
    error.facts.notBrought = true;
    throw error;
  }
}
