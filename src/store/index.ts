/** The store of content, snapshots, images and leases: its interface and the two stores behind it. */
export { isBoltDatabase } from './bolt.ts';
export { defaultAddress, defaultNamespace } from './containerd/place.ts';
export {
  hold,
  holdChain,
  holdSnapshot,
  holdSnapshots,
  keepTrees,
  unlessThere,
  writerInTurn,
} from './hold.ts';
export { contentRefLabels, createdByLabel, madeByLabel, snapshotRefLabel } from './labels.ts';
export { openLocalStore } from './local/open.ts';
export {
  type Ref,
  type RefContext,
  type RefLayer,
  type RefLayers,
  type SerializedRef,
  snapshotKeys,
} from './ref.ts';
export { explainDisk } from './shared/disk-full.ts';
export { explainLazy } from './shared/lazy-failure.ts';
export { letGo, letGoOfTheRest } from './shared/let-go.ts';
export { ownRoot } from './shared/own-root.ts';
export { fillReserve, withReserve } from './shared/reserve.ts';
export { tooManyLayers } from './shared/too-many-layers.ts';
export {
  type DatabaseName,
  type List,
  openDatabase,
  prepare,
  prepareList,
  type Statement,
  transaction,
} from './sqlite.ts';
export {
  type ContentWriter,
  gcLabels,
  type ImageRecord,
  type SnapshotInfo,
  type Store,
  snapshotLabels,
} from './store.ts';
