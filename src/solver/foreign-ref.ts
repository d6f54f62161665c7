/** A tree that a cache from elsewhere has: fetched when it is first needed, and made after all when that fails. */
import { type DrydockError, toDrydockError } from '../errors/index.ts';
import { orAbort, SingleFlight } from '../flow/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import type { Ref, RefContext, RefLayers, SerializedRef } from '../store/index.ts';

interface ForeignRefParts {
  /** Names it until it is here. */
  id: string;
  /** The tree as the cache has it, nothing of it fetched; undefined when the cache lacks it. */
  there: Ref | undefined;
  /** Puts what was fetched under the vertex's lease, and records it. */
  keep(key: string, ctx: RefContext): Promise<Ref>;
  /** Makes the tree. */
  make(): Promise<Ref>;
  /** Told why it could not be fetched, before it is made. */
  onFailure(err: DrydockError): void;
}

export class ForeignRef implements Ref {
  readonly #parts: ForeignRefParts;
  #here: Ref | undefined;
  readonly #bringing = new SingleFlight();

  constructor(parts: ForeignRefParts) {
    this.#parts = parts;
  }

  get id(): string {
    return this.#here?.id ?? this.#parts.id;
  }

  async view(ctx: RefContext): Promise<ViewSpec> {
    return (await this.#bring(ctx)).view(ctx);
  }

  async snapshot(ctx: RefContext): Promise<string> {
    return (await this.#bring(ctx)).snapshot(ctx);
  }

  /** The layers as the cache has them, while they are still there alone. */
  async layers(): Promise<RefLayers | undefined> {
    if (this.#here !== undefined) return this.#here.layers();
    const there = await this.#parts.there?.layers();
    return there && { where: 'elsewhere', layers: there.layers };
  }

  /** A tree that is not here cannot outlive the build: its cache may be gone by the next one. */
  serialize(): SerializedRef | undefined {
    return this.#here?.serialize();
  }

  async #bring(ctx: RefContext): Promise<Ref> {
    if (this.#here !== undefined) return this.#here;
    // The one who began it may give up like the others; it is brought for them.
    return orAbort(
      this.#bringing.run('', ctx.signal, () => this.#bringNow(ctx)),
      ctx.signal,
    );
  }

  async #bringNow(ctx: RefContext): Promise<Ref> {
    const { there, keep, make, onFailure } = this.#parts;
    if (there !== undefined) {
      try {
        this.#here = await keep(await there.snapshot(ctx), ctx);
        return this.#here;
      } catch (err) {
        const error = toDrydockError(err, 'cache');
        if (error.code === 'canceled') throw error;
        onFailure(error);
      }
    }
    this.#here = await make();
    return this.#here;
  }
}
