/**
 * The `Ref`: an immutable file tree that is a vertex's output. A tree may be lazy: it is pulled and unpacked when it is
 * read.
 */
import type { ViewSpec } from '../fs/index.ts';
import type { CredentialSource, Descriptor, Digest } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { SnapshotInfo } from './store.ts';

/** The circumstances under which a ref is read. */
export interface RefContext {
  signal?: AbortSignal;
  report?: ReportStatus;
  /** The lease that keeps the blobs and snapshots made while materializing. */
  lease: string;
  /** The client's credentials, for a lazy layer that must still be fetched. */
  credentials?: CredentialSource;
  /** A lazy layer that must still be fetched is an error. */
  offline?: boolean;
  /**
   * Whether a layer may be made whose files are fetched when they are read (`Store.lazy`). Its diff ID is believed and
   * not checked, so it is not for builds of tenants who are kept apart.
   */
  mayBeLazy?: boolean;
}

/** One immutable file tree; its methods make the tree real step by step, as far as the caller needs it. */
export interface Ref {
  /** Stable identity of the tree within this store, for cache records and logs. */
  readonly id: string;
  /** True for a tree that others may change while it is held: contents that were read of it must be checked again. */
  readonly changeable?: boolean;
  /** True when the id stands for exactly this tree for good, though the tree is not in the store. */
  readonly lasting?: boolean;
  /** Returns a view for reading the tree without a mount. Materializes a lazy tree. */
  view(ctx: RefContext): Promise<ViewSpec>;
  /** Returns the key of a committed snapshot that holds this tree. A folder ref copies itself into the store. */
  snapshot(ctx: RefContext): Promise<string>;
  /**
   * Tells which layers the tree has, without materializing anything. Undefined for a tree that is not in layers yet.
   */
  layers(): Promise<RefLayers | undefined>;
  /**
   * Returns JSON that `restoreRef` understands; undefined for a tree that cannot outlive this build (a client's
   * folder).
   */
  serialize(): SerializedRef | undefined;
  /**
   * Registers a callback for a tree that `serialize` gives as parts: it is called once, when the tree has become a
   * snapshot of its own. `snapshot` waits for it.
   */
  whenMade?(told: () => Promise<void>): void;
}

/** The layers of a ref, lowest first. */
export interface RefLayers {
  /**
   * `here`: this store has each layer or can make it. `elsewhere`: the tree has never been in this store, and its
   * layers would be fetched from a registry or a foreign cache.
   */
  where: 'here' | 'elsewhere';
  layers: readonly RefLayer[];
}

/** One layer of a ref: a committed snapshot, a blob somewhere, or both. */
export interface RefLayer {
  snapshot?: string;
  /**
   * True when the snapshot has this layer's files but stands on other snapshots than the layers below it in this list.
   */
  loose?: boolean;
  /** The snapshot as the store knew it when it was asked for the layers. */
  info?: SnapshotInfo;
  diffId?: Digest;
  blob?: Descriptor;
  /** The `image` source reference from which the blob can be fetched when it is not in content. */
  from?: string;
  /** The time when the layer was made elsewhere, ms since the epoch. */
  madeAt?: number;
  /** The name of the step that made the layer elsewhere. */
  madeBy?: string;
  /** Puts the blob into content, for layers that `from` alone does not lead to. */
  bring?(ctx: RefContext): Promise<void>;
}

/** A tree as cache records keep it. */
export type SerializedRef =
  | { kind: 'snapshot'; key: string }
  | { kind: 'image'; ref: string; layers: { descriptor: Descriptor; diffId: Digest }[] }
  /** Trees that are stacked onto each other, lowest first, when the stack is asked for. */
  | { kind: 'merge'; parts: SerializedRef[] }
  | { kind: 'empty' };

/** The keys of the snapshots that a tree, or each part that it is stacked of, is in. */
export function snapshotKeys(form: SerializedRef | undefined): string[] {
  if (form?.kind === 'merge') return form.parts.flatMap(snapshotKeys);
  return form?.kind === 'snapshot' ? [form.key] : [];
}
