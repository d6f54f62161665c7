/** The layers of several trees stacked into one, later ones on top. They are stacked when a caller needs the tree. */
import { randomUUID } from 'node:crypto';
import { type DrydockError, fail } from '../errors/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import { digestOf, hex } from '../oci/index.ts';
import {
  type Ref,
  type RefContext,
  type RefLayer,
  type RefLayers,
  type SerializedRef,
  type Store,
  unlessThere,
} from '../store/index.ts';
import { chainOf, restack } from './restack.ts';
import { copyAll, writeSnapshot } from './snapshot.ts';

/** The largest number of layers in one stack. */
const maxLayers = 2048;

/** The use of a snapshot that may be in the store. */
interface Stacked {
  /** Puts it under a lease; false when it is gone. */
  hold(key: string, lease: string): Promise<boolean>;
  view(key: string): Promise<ViewSpec>;
  layers(key: string): Promise<RefLayers>;
}

/** The number of trees that these are stacked of, including those inside them. */
function countAll(forms: readonly (SerializedRef | undefined)[]): number {
  return forms.reduce((sum, form) => sum + (form?.kind === 'merge' ? countAll(form.parts) : 1), 0);
}

/** A tree of several parts. It is stacked when its snapshot is first asked for; its layers are known before. */
export class MergeRef implements Ref {
  /**
   * The id, which is also the key of the stacked snapshot: parts that do not change are stacked once for all builds.
   */
  readonly id: string;
  readonly #store: Store;
  readonly #stacked: Stacked;
  readonly #parts: readonly Ref[];
  readonly #told: (() => Promise<void>)[] = [];
  #isMade = false;

  /**
   * Makes the ref of at least two parts, lowest first. Throws `unsupported` when there are more layers than any store
   * can stack: a tree merged with itself, and the result with itself again, soon has too many for any disk.
   */
  constructor(store: Store, stacked: Stacked, parts: readonly Ref[]) {
    const forms = parts.map((part) => part.serialize());
    const lasts = forms.every((form) => form !== undefined);
    this.id = `merge-${lasts ? hex(digestOf(JSON.stringify(parts.map(({ id }) => id)))) : randomUUID()}`;
    this.#store = store;
    this.#stacked = stacked;
    this.#parts = parts;
    if (countAll(forms) > maxLayers) throw tooMany();
  }

  async view(ctx: RefContext): Promise<ViewSpec> {
    return this.#stacked.view(await this.snapshot(ctx));
  }

  async snapshot(ctx: RefContext): Promise<string> {
    if (!(await this.#stacked.hold(this.id, ctx.lease))) {
      await this.#store.work.stacking.run(this.id, ctx.signal, () => this.#make(ctx));
      await this.#store.leases.add(ctx.lease, { type: 'snapshot', id: this.id });
    }
    if (!this.#isMade) {
      this.#isMade = true;
      await Promise.all(this.#told.splice(0).map((told) => told()));
    }
    return this.id;
  }

  /** The layers of all parts. Parts that are not in the store are stacked as blobs, which needs none of their files. */
  async layers(): Promise<RefLayers | undefined> {
    if (this.#isMade) return this.#stacked.layers(this.id);
    if (isHere(this.serialize())) return undefined;
    const all: RefLayer[] = [];
    for (const [i, part] of this.#parts.entries()) {
      const layers = (await part.layers())?.layers;
      if (layers === undefined || (i > 0 && !layers.every((layer) => isMovable(layer, layers))))
        return undefined;
      all.push(...(i === 0 ? layers : layers.map((layer) => ({ ...layer, loose: true }))));
    }
    const isElsewhere = all.some(({ snapshot }) => snapshot === undefined);
    return isElsewhere ? { where: 'elsewhere', layers: all } : undefined;
  }

  serialize(): SerializedRef | undefined {
    if (this.#isMade) return { kind: 'snapshot', key: this.id };
    const parts = this.#parts.map((part) => part.serialize());
    return parts.every((part) => part !== undefined) ? { kind: 'merge', parts } : undefined;
  }

  whenMade(told: () => Promise<void>): void {
    if (!this.#isMade) this.#told.push(told);
  }

  async #make(ctx: RefContext): Promise<void> {
    const [base, ...rest] = this.#parts;
    if (base === undefined) throw fail('internal', 'store', 'a merge of nothing');
    if (await this.#stacked.hold(this.id, ctx.lease)) return;
    if (this.#store.snapshots.restack === undefined) return this.#copy(base, rest, ctx);
    const top = await base.snapshot(ctx);
    const layers: string[] = [];
    const height = (await chainOf(this.#store, top)).length;
    for (const part of rest) {
      layers.push(...(await chainOf(this.#store, await part.snapshot(ctx))));
      if (height + layers.length > maxLayers) throw tooMany();
    }
    await unlessThere(restack(this.#store, layers, top, ctx, this.id));
  }

  /** Copies the parts over the first one, in a store whose snapshots are whole trees. */
  async #copy(base: Ref, rest: readonly Ref[], ctx: RefContext): Promise<void> {
    let parent = await base.snapshot(ctx);
    for (const [i, part] of rest.entries()) {
      const name = i === rest.length - 1 ? this.id : `merge-${randomUUID()}`;
      const actions = [copyAll(await part.view(ctx))];
      const what = { name, key: `merge-active-${randomUUID()}`, parent, actions };
      await unlessThere(writeSnapshot(this.#store, what, ctx));
      parent = name;
    }
  }
}

/** Whether a tree, or each part that it is stacked of, is in snapshots. */
function isHere(form: SerializedRef | undefined): boolean {
  return form?.kind === 'merge' ? form.parts.every(isHere) : form !== undefined && form.kind !== 'image';
}

/** Whether a part's layer fits on any other tree: it is a blob, or was made on nothing. */
function isMovable({ blob, diffId }: RefLayer, all: readonly RefLayer[]): boolean {
  return (blob !== undefined && diffId !== undefined) || all.length === 1;
}

function tooMany(): DrydockError {
  return fail('unsupported', 'llb', `a merge has more than ${maxLayers} layers`, {
    hint: 'Copy the trees into one another instead.',
  });
}
