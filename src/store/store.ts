/**
 * The interface of the store: content (blobs), snapshots, images and leases. `store/local` and `store/containerd`
 * implement it and pass one conformance suite.
 *
 * The life of a lease. A build begins with `leases.create`. Each method that makes something takes the id of a lease
 * and puts the new thing under it; `leases.add` puts a thing there that exists already. As long as the lease lives,
 * garbage collection keeps its things and everything that these name in their labels (`gcLabels`) or stand on. Before
 * the build ends, an image or a pinned lease (each cache record has one) takes over the things that are to stay.
 * `leases.delete` ends the lease, and the next `gc` removes the things that nothing else holds. A lease that is not
 * pinned also ends with its process: the next process that opens the store deletes the leases of dead ones.
 *
 * The life of a snapshot. `prepare` makes it active: an empty layer on a committed parent, written to through mounts.
 * `commit` gives it its name for good and makes it immutable. A committed snapshot can be the parent of others and is
 * read through `view`; `setLabels` writes down facts about it that are found out later, such as its diff ID
 * (`snapshotLabels`); `restack` lays its layer on another parent. It stays as long as a lease, a label, a view or a
 * child holds it.
 *
 *     await store.leases.create('build-1');
 *     const mounts = await store.snapshots.prepare('step-2', 'base', { lease: 'build-1' });
 *     await writeFilesThrough(mounts);
 *     await store.snapshots.commit('result', 'step-2', { lease: 'build-1' });
 *     await store.images.put('docker.io/library/app:latest', manifest); // whose config names `result` in a label
 *     await store.leases.delete('build-1');
 */
import type { Readable } from 'node:stream';
import type { Mount } from '../fs/index.ts';
import type { LazyFiles } from '../lazy/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { StoreWork } from './work.ts';

/** Everything that a build needs of a store; `work` and `runDir` belong to this process alone. */
export interface Store {
  readonly kind: 'local' | 'containerd';
  /**
   * Whether other programs than Drydock read and write this store too (a containerd). They expect an image to be whole,
   * with each layer a blob and each snapshot named by its chain ID, and they make snapshots without our labels. In a
   * store that is ours alone, an image's layers may be snapshots only; their blobs are made when they are asked for.
   */
  readonly shared: boolean;
  /** Name of the snapshotter, as gc labels name it: `overlayfs` or `native`. */
  readonly snapshotter: string;
  /** The folder for files that live beside the store: cache database, exec bundles, cache mounts. */
  readonly root: string;
  /** The folder of blobs and layers on this host, when it is not below `root` and this process can see it. */
  readonly dataFolder?: string;
  /** The folder of this process's temporary files. If the process dies, the next one to open the store removes it. */
  readonly runDir: string;
  readonly content: Content;
  readonly snapshots: Snapshots;
  readonly images: Images;
  readonly leases: Leases;
  /** The work on the store that is under way in this process. */
  readonly work: StoreWork;
  /** Layers whose files are fetched when they are read, in a store that serves such layers itself. */
  readonly lazy?: LazyLayers;
  /**
   * Removes every blob and snapshot that no image, lease or living child refers to. `letGo` runs first. The report has
   * everything that went since then: containerd may collect by itself the moment a lease or an image is deleted, so
   * such deletions belong into `letGo`.
   */
  gc(letGo?: () => Promise<unknown>): Promise<GcReport>;
  /** Resolves when everything removed so far is off the disk, in a store that deletes in the background. */
  settled?(): Promise<void>;
  /**
   * Reads every blob and checks its digest, checks that every snapshot has its folder and every folder its snapshot.
   */
  verify(onProgress?: (done: number, total: number) => void): Promise<VerifyReport>;
  /**
   * A hint for a user whose image (a normalized name) is missing in this store and present in another one. Set by the
   * opener of this store, who knows of the other.
   */
  elsewhere?: (name: string) => Promise<string | undefined>;
  close(): Promise<void>;
}

/**
 * Lazy layers: their files are there but for the contents, which are fetched from the layer's registry, checked and kept
 * when they are first read. Snapshots of such layers are like all others, and readers notice nothing but the time.
 */
export interface LazyLayers {
  /** Whether layers that allow it are to be made lazy. */
  readonly wanted: boolean;
  /** Why this machine cannot serve them; undefined when it can. */
  problem: LazyFiles['problem'];
  /** Makes the layer of an active snapshot a lazy one; returns the folder for its table, which does not exist yet. */
  begin(key: string): Promise<string>;
  /** Has contents fetched with a registry client's settings from now on. */
  connect: LazyFiles['connect'];
  /** Lends the credentials with which an image (a reference) was resolved, until others are lent for its repository. */
  lend: LazyFiles['lend'];
  /**
   * The newest read of some layers (`lazyLayersOf`) that failed since a time (ms since the epoch): the program that read
   * was told EIO.
   */
  failureSince: LazyFiles['failureSince'];
}

/** The things that a collection removed. */
export interface GcReport {
  blobs: Digest[];
  snapshots: string[];
  /** Bytes of disk space that were freed. */
  reclaimed: number;
}

/** The result of checking the whole store. */
export interface VerifyReport {
  blobs: number;
  snapshots: number;
  /** One sentence for each problem; empty when all is well. */
  problems: string[];
}

/** The facts about one blob. */
export interface BlobInfo {
  digest: Digest;
  size: number;
  labels: Record<string, string>;
  /** ms since the epoch */
  createdAt: number;
}

/** The blobs: immutable bytes, each named by its digest. */
export interface Content {
  /**
   * Returns the facts about a blob. A blob whose file is missing or short (a failed disk, somebody's hand) counts as
   * absent, so that it is made or fetched again; writing it replaces the remains.
   */
  info(digest: Digest): Promise<BlobInfo | undefined>;
  /** Streams a blob, or `length` bytes of it from `offset` on. Throws `not-found`. */
  read(digest: Digest, range?: { offset?: number; length?: number }): Promise<Readable>;
  /**
   * Reads a small blob (manifest, config) whole. Throws `not-found`, `corrupt` when the bytes have another digest, and
   * refuses more than 32 MiB.
   */
  bytes(digest: Digest): Promise<Buffer>;
  /**
   * Opens an ingest (a blob that is being written) named `ref`; with `resume`, continues it. Throws `conflict` when
   * another writer has this ref open, and `exists` when the blob `expected` is there already, after putting it under
   * the lease.
   */
  writer(ref: string, options: WriterOptions): Promise<ContentWriter>;
  /** Stores a small blob and returns its digest. Storing bytes that are there already is no error. */
  put(data: Uint8Array, options: { lease: string; labels?: Record<string, string> }): Promise<Digest>;
  setLabels(digest: Digest, labels: Record<string, string | undefined>): Promise<void>;
  /**
   * Keeps a blob that took long to make for an hour, or until `gc`, though nothing refers to it. It is for stores that
   * collect garbage by themselves; others keep everything until `gc`.
   */
  linger?(digest: Digest): Promise<void>;
  list(): Promise<BlobInfo[]>;
  delete(digest: Digest): Promise<void>;
  /** The path of the blob's file, for reading only; a fast path of stores whose blobs are files on this host. */
  localPath?(digest: Digest): Promise<string | undefined>;
  /**
   * Returns a path on the store's filesystem where a worker may write a new blob; a fast path of the same stores.
   * `adopt` moves the finished file into the store and trusts the caller, who hashed while writing, for digest and
   * size. Files that are never adopted go with this process's run folder.
   */
  ingestPath?(): Promise<string>;
  adopt?(
    path: string,
    blob: { digest: Digest; size: number },
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void>;
}

/**
 * Prefixes of labels by which one thing keeps another alive, with containerd's names, so that both stores collect
 * alike: `containerd.io/gc.ref.content[.<anything>]` names a digest, `containerd.io/gc.ref.snapshot.<snapshotter>` a
 * snapshot's key (whose parents live with it). An image's name keeps its target, a manifest's labels keep its config
 * and layers, and a config's label keeps the snapshot of its unpacked (or built) chain.
 */
export const gcLabels = {
  content: 'containerd.io/gc.ref.content',
  snapshot: 'containerd.io/gc.ref.snapshot',
} as const;

/** The circumstances of an ingest: its lease, the blob that is expected, and whether it continues. */
export interface WriterOptions {
  lease: string;
  expected?: { digest?: Digest; size?: number };
  /**
   * true: the caller continues from the writer's `offset`. Otherwise the caller writes all bytes, whatever an earlier
   * try left.
   */
  resume?: boolean;
}

/** One open ingest: a blob that is being written. */
export interface ContentWriter {
  /**
   * With `resume`, the number of bytes that are there already, from an earlier try or from another blob's owner; else
   * 0.
   */
  readonly offset: number;
  /** Appends a chunk. Resolves when the writer takes the next one. */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Checks size and digest (throws `corrupt` when they differ) and makes the blob visible. It is no error when another
   * writer has stored the same bytes meanwhile.
   */
  commit(labels?: Record<string, string>): Promise<{ digest: Digest; size: number }>;
  /**
   * Closes the ingest without making a blob. `keep` leaves the bytes for a later `resume`; otherwise they are removed.
   */
  abort(keep?: boolean): Promise<void>;
}

/** The facts about one snapshot; `createdAt` is in ms since the epoch. */
export interface SnapshotInfo {
  key: string;
  parent?: string;
  kind: 'active' | 'committed';
  labels: Record<string, string>;
  createdAt: number;
}

/** Labels that the rest of Drydock reads on snapshots. */
export const snapshotLabels = {
  /** Digest of the layer's uncompressed tar; set once it is known. */
  diffId: 'drydock/diff-id',
  /** Chain ID of the whole stack; `Snapshots.byChain` looks it up. */
  chainId: 'drydock/chain-id',
  /** `drydock/blob.<compression>`: JSON Descriptor of the layer as a blob in content. */
  blobPrefix: 'drydock/blob.',
  /** When the layer was made (ms since the epoch), on a snapshot that was copied into this store or restacked later. */
  madeAt: 'drydock/made-at',
  /** The name of the step that made the layer in this store. */
  createdBy: 'drydock/created-by',
  /** The name of the step that made the layer elsewhere, as the cache that it was fetched from tells it. */
  madeBy: 'drydock/made-by',
  /** On a snapshot of a lazy layer: `true`. Its blob is to be fetched, and not to be made of its files. */
  lazy: 'drydock/lazy',
  /** On a restacked snapshot: the key of the snapshot whose layer it shares, which may be gone. */
  layerOf: 'drydock/layer-of',
} as const;

/**
 * Snapshots are layers, each stacked on its `parent`. Layer folders are in overlayfs's format (whiteouts are 0/0
 * character devices, opaque folders carry `trusted.overlay.opaque=y`, in a user namespace `user.overlay.opaque=y`), so they can be read and written without
 * mounting.
 */
export interface Snapshots {
  stat(key: string): Promise<SnapshotInfo | undefined>;
  /** Makes an active snapshot on a committed parent (undefined: on nothing) and returns its writable mounts. */
  prepare(key: string, parent: string | undefined, options: { lease: string }): Promise<Mount[]>;
  /** Returns a snapshot and all snapshots below it, lowest first; an empty list when the snapshot is missing. */
  chain(key: string): Promise<SnapshotInfo[]>;
  /** Returns the mounts of an active snapshot once more. */
  mounts(key: string): Promise<Mount[]>;
  /**
   * Returns read-only mounts of a committed snapshot and keeps the snapshot until they are released. `kept`: a lease of
   * the caller or a child keeps the snapshot that long anyway, so the store need not.
   */
  view(key: string, options?: { kept?: boolean }): Promise<{ mounts: Mount[]; release(): Promise<void> }>;
  /**
   * Turns an active snapshot into the committed snapshot `name`. Throws `exists` when the name is taken: the active one
   * stays as it is, and the lease holds the committed one that has the name.
   */
  commit(
    name: string,
    activeKey: string,
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void>;
  /**
   * Makes a committed snapshot `name` of the layer of `source` (without the layers below it) on another parent, without
   * copying files. Undefined on a store that cannot do it; the caller copies then.
   */
  restack?(
    name: string,
    source: string,
    parent: string | undefined,
    options: { lease: string },
  ): Promise<void>;
  /**
   * Has the store's snapshotter serve a layer whose files it fetches by itself, as the committed snapshot named by its
   * chain ID. Returns false when it does not serve this one. Undefined on a store whose snapshotter serves none.
   */
  remote?(
    chain: Digest,
    parent: string | undefined,
    layer: RemoteLayer,
    options: { lease: string; labels: Record<string, string> },
  ): Promise<boolean>;
  /**
   * Whether a committed snapshot and all below it are there with their folders. When a folder is missing (a failed
   * disk, somebody's hand), its snapshot and all that stand on it are forgotten, so that they are made again.
   */
  intact(key: string): Promise<boolean>;
  /** Returns a committed snapshot with this chain ID, if the store knows one. */
  byChain(chain: Digest): Promise<SnapshotInfo | undefined>;
  setLabels(key: string, labels: Record<string, string | undefined>): Promise<void>;
  /** Bytes and inodes of the snapshot's own layer, without its parents. */
  usage(key: string): Promise<{ size: number; inodes: number }>;
  list(): Promise<SnapshotInfo[]>;
  /** Removes a snapshot. Throws `conflict` while it has children or an open view. */
  remove(key: string): Promise<void>;
}

/** A layer in a registry, as a snapshotter that fetches its files by itself is told of it. */
export interface RemoteLayer {
  /** The reference of an image that has it. */
  source: string;
  blob: Descriptor;
  /** The layers above it in that image, lowest first. */
  above: readonly Digest[];
}

/** One name of an image. `createdAt` and `updatedAt` are in ms since the epoch. */
export interface ImageRecord {
  /** Normalized reference with tag or digest, e.g. `docker.io/library/app:latest`. */
  name: string;
  /** Manifest or index in content. */
  target: Descriptor;
  labels: Record<string, string>;
  createdAt: number;
  updatedAt: number;
}

/** The images: each name points to a manifest or index in content. */
export interface Images {
  get(name: string): Promise<ImageRecord | undefined>;
  /** Lists all images by name. Images that come or go meanwhile may be in the list or not. */
  list(): Promise<ImageRecord[]>;
  /** Lists the images that point to a target, by name. */
  of(target: Digest): Promise<ImageRecord[]>;
  /**
   * Creates a name or moves it to another target. Throws `not-found` when the target is not in content. `date` (seconds
   * since the epoch) is the time that other programs see in a shared store; a store that is ours alone keeps the
   * current time.
   *
   *     await images.put('docker.io/library/app:1', manifest, {}, 1700000000); // a shared store shows a date in 2023
   */
  put(name: string, target: Descriptor, labels?: Record<string, string>, date?: number): Promise<ImageRecord>;
  delete(name: string): Promise<boolean>;
}

/** Leases keep things from garbage collection; the top of this file tells the life of one. */
export interface Leases {
  /**
   * Makes a lease and puts `holds` under it, as `add` does. A `pinned` lease outlives the process (each cache record
   * has one). Making a lease of this process, or a pinned one, once more is no error. Throws `conflict` when the lease
   * belongs to another process.
   */
  create(id: string, options?: LeaseOptions): Promise<void>;
  /**
   * Puts a thing under a lease. Throws `not-found` when the lease or the thing is missing, or the thing is not whole.
   */
  add(id: string, resource: LeaseResource): Promise<void>;
  /**
   * Puts many things under a lease at once. Returns for each, by position, whether it is there and whole; others are
   * not added. Throws `not-found` when the lease is missing.
   */
  addAll(id: string, resources: readonly LeaseResource[]): Promise<boolean[]>;
  removeResource(id: string, resource: LeaseResource): Promise<void>;
  resources(id: string): Promise<LeaseResource[]>;
  delete(id: string): Promise<void>;
  /** Lists the leases; with `pinned`, only those that are pinned, or that are not. */
  list(only?: {
    pinned: boolean;
  }): Promise<{ id: string; pinned: boolean; labels: Record<string, string> }[]>;
}

export interface LeaseOptions {
  pinned?: boolean;
  labels?: Record<string, string>;
  holds?: readonly LeaseResource[];
}

/** A thing that a lease can hold. */
export type LeaseResource = { type: 'snapshot'; id: string } | { type: 'blob'; id: Digest };
