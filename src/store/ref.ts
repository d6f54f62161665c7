/** A Ref is the immutable file tree that a vertex's output is. It may be lazy: nothing is pulled or unpacked until asked. */
import type { ViewSpec } from '../fs/index.ts';
import type { CredentialSource, Descriptor, Digest } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import type { SnapshotInfo } from './store.ts';

export interface RefContext {
  signal?: AbortSignal;
  report?: ReportStatus;
  /** Lease that keeps what materializing makes. */
  lease: string;
  /** The client's credentials, should a lazy layer still have to be fetched. */
  credentials?: CredentialSource;
}

export interface Ref {
  /** Stable identity of the tree within this store (used in cache records and logs). */
  readonly id: string;
  /** Others may change it while it is held: what was read of it is to be checked again. */
  readonly changeable?: boolean;
  /** The id stands for just this tree for good, though it is not in the store. */
  readonly lasting?: boolean;
  /** A view of the tree for reading without a mount. Materializes what is lazy. */
  view(ctx: RefContext): Promise<ViewSpec>;
  /** Key of a committed snapshot in the store that holds this tree. A folder ref copies itself into the store. */
  snapshot(ctx: RefContext): Promise<string>;
  /** Of what layers the tree is, without materializing anything. Undefined for a tree that is not in layers yet. */
  layers(): Promise<RefLayers | undefined>;
  /** JSON that `restoreRef` understands, or undefined when the tree cannot outlive this build (a client's folder). */
  serialize(): SerializedRef | undefined;
  /** Called once when a tree that `serialize` gives in parts is a snapshot of its own; `snapshot` waits for it. */
  whenMade?(told: () => Promise<void>): void;
}

/** The layers of a ref, lowest first. */
export interface RefLayers {
  /**
   * `here`: as this store has them, or can have each of them. `elsewhere`: the tree has never been here, and its layers
   * would be fetched from a registry or a foreign cache.
   */
  where: 'here' | 'elsewhere';
  layers: readonly RefLayer[];
}

/** One layer of a ref: a committed snapshot, a blob somewhere, or both. */
export interface RefLayer {
  snapshot?: string;
  /** The snapshot has this layer's files, but stands on others than the layers below it here. */
  loose?: boolean;
  /** What the store knew of the snapshot when it was asked for the layers. */
  info?: SnapshotInfo;
  diffId?: Digest;
  blob?: Descriptor;
  /** `image` source reference the blob can be fetched from, when it is not in content. */
  from?: string;
  /** When it was made elsewhere, ms since the epoch. */
  madeAt?: number;
  /** What made it elsewhere: the name of a step. */
  madeBy?: string;
  /** Puts the blob into content, where `from` alone does not say how. */
  bring?(ctx: RefContext): Promise<void>;
}

export type SerializedRef =
  | { kind: 'snapshot'; key: string }
  | { kind: 'image'; ref: string; layers: { descriptor: Descriptor; diffId: Digest }[] }
  /** Trees stacked onto each other, lowest first, once that is asked for. */
  | { kind: 'merge'; parts: SerializedRef[] }
  | { kind: 'empty' };

/** Keys of the snapshots that a tree, or what it is to be stacked of, is in. */
export function snapshotKeys(form: SerializedRef | undefined): string[] {
  if (form?.kind === 'merge') return form.parts.flatMap(snapshotKeys);
  return form?.kind === 'snapshot' ? [form.key] : [];
}
