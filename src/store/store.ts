/**
 * The door of the store: content, snapshots, images and leases. store/local and store/containerd stand behind it
 * and pass one conformance suite.
 *
 * Everything that must survive garbage collection is reachable from an image, a pinned record or a lease. All
 * methods that take a `lease` add what they make to it.
 */
import type { Readable } from 'node:stream';
import type { Mount } from '../fs/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { StoreWork } from './work.ts';

export interface Store {
  readonly kind: 'local' | 'containerd';
  /**
   * Whether others than Drydock read and write it too. They expect an image to be whole, each layer a blob and each
   * snapshot named by its chain ID, and they make snapshots without our labels. In a store of our own an image's layers
   * may be snapshots alone, whose blobs are made when asked for.
   */
  readonly shared: boolean;
  /** Name of the snapshotter, as gc labels name it: `overlayfs` or `native`. */
  readonly snapshotter: string;
  /** Folder for files that live beside the store: cache database, exec bundles, cache mounts. */
  readonly root: string;
  /** Where its blobs and layers are on this host, when that is not below `root` and can be seen. */
  readonly dataFolder?: string;
  /** Folder of this process's own temporary files; swept by the next start if this process dies. */
  readonly runDir: string;
  readonly content: Content;
  readonly snapshots: Snapshots;
  readonly images: Images;
  readonly leases: Leases;
  /** What this process is doing on it just now. */
  readonly work: StoreWork;
  /** Removes everything no image, lease or live child refers to. */
  gc(): Promise<GcReport>;
  /** Resolves when what was removed so far is off the disk, in a store that deletes in the background. */
  settled?(): Promise<void>;
  /** Reads every blob and checks its digest, and checks that every snapshot's folder is there and the reverse. */
  verify(onProgress?: (done: number, total: number) => void): Promise<VerifyReport>;
  /**
   * Set by who knows of another store beside this one: a hint when the image (a normalized name) that is missing
   * here is there.
   */
  elsewhere?: (name: string) => Promise<string | undefined>;
  close(): Promise<void>;
}

export interface GcReport {
  blobs: Digest[];
  snapshots: string[];
  /** Bytes given back. */
  reclaimed: number;
}

export interface VerifyReport {
  blobs: number;
  snapshots: number;
  /** One sentence each; empty when all is well. */
  problems: string[];
}

export interface BlobInfo {
  digest: Digest;
  size: number;
  labels: Record<string, string>;
  /** ms since the epoch */
  createdAt: number;
}

export interface Content {
  /**
   * What is known of a blob. One whose file is gone or short (a disk's or someone's doing) counts as not there, so that
   * it is made or fetched again: writing it replaces what is left of it.
   */
  info(digest: Digest): Promise<BlobInfo | undefined>;
  /** Streams a blob, or `length` bytes from `offset`. Throws `not-found`. */
  read(digest: Digest, range?: { offset?: number; length?: number }): Promise<Readable>;
  /**
   * A whole small blob (manifests, configs; refuses more than 32 MiB). Throws `not-found`, and `corrupt` when its bytes
   * have another digest.
   */
  bytes(digest: Digest): Promise<Buffer>;
  /**
   * Opens (with `resume` goes on with) an ingest named `ref`. Two writers of one ref are refused with `conflict`. If
   * `expected` is already there, throws `exists`, and the lease holds it.
   */
  writer(ref: string, options: WriterOptions): Promise<ContentWriter>;
  /** Stores a small blob and returns its digest; storing what is there already is fine. */
  put(data: Uint8Array, options: { lease: string; labels?: Record<string, string> }): Promise<Digest>;
  setLabels(digest: Digest, labels: Record<string, string | undefined>): Promise<void>;
  list(): Promise<BlobInfo[]>;
  delete(digest: Digest): Promise<void>;
  /** Fast path of a store whose blobs are files on this host: the blob's file, for reading only. */
  localPath?(digest: Digest): Promise<string | undefined>;
  /**
   * Fast path of such a store: a path for a worker to write a new blob to, on the store's filesystem. `adopt` moves
   * the finished file in (the caller vouches for digest and size, having hashed while writing); what is never
   * adopted is swept with this process's run folder.
   */
  ingestPath?(): Promise<string>;
  adopt?(
    path: string,
    blob: { digest: Digest; size: number },
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void>;
}

/**
 * Labels on a blob that keep other things alive as long as the blob is, with containerd's names, so that both
 * stores collect alike: `containerd.io/gc.ref.content[.<anything>]` = digest,
 * `containerd.io/gc.ref.snapshot.<snapshotter>` = snapshot key (its parents live with it). An image's name keeps
 * its target; manifests carry content labels for configs and layers; a config carries the snapshot label of its
 * unpacked (or built) chain.
 */
export const gcLabels = {
  content: 'containerd.io/gc.ref.content',
  snapshot: 'containerd.io/gc.ref.snapshot',
} as const;

export interface WriterOptions {
  lease: string;
  expected?: { digest?: Digest; size?: number };
  /** The caller goes on from the writer's `offset`; without it all bytes are written, whatever is there of an earlier try. */
  resume?: boolean;
}

export interface ContentWriter {
  /** With `resume`, bytes that are there already, of an earlier try or of another's blob: the caller continues from here. */
  readonly offset: number;
  /** Appends. Resolves when more may be written. */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Checks size and digest (`corrupt` when they do not hold) and makes the blob visible. Fine when another has stored the
   * same bytes meanwhile.
   */
  commit(labels?: Record<string, string>): Promise<{ digest: Digest; size: number }>;
  /** Closes without making a blob. `keep` leaves the bytes for a later resume, else they are removed. */
  abort(keep?: boolean): Promise<void>;
}

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
  /** When the layer was made (ms since the epoch), on a snapshot that was copied here or restacked later. */
  madeAt: 'drydock/made-at',
  /** What made the layer, here: the name of its step. */
  createdBy: 'drydock/created-by',
  /** What made a layer that was fetched from a cache, as that says. */
  madeBy: 'drydock/made-by',
  /** On a snapshot that was restacked: the key of the one whose own layer it has, which may be gone. */
  layerOf: 'drydock/layer-of',
} as const;

/**
 * Snapshots are layers stacked by `parent`. An active one can be written through its mounts; a committed one is
 * immutable. Layer folders are in overlayfs's format (whiteouts are 0/0 character devices, opaque folders carry
 * `trusted.overlay.opaque=y`), so that they can be read and written without mounting.
 */
export interface Snapshots {
  stat(key: string): Promise<SnapshotInfo | undefined>;
  /** Makes an active snapshot on a committed parent (none: empty) and returns its writable mounts. */
  prepare(key: string, parent: string | undefined, options: { lease: string }): Promise<Mount[]>;
  /** A snapshot and all that it stands on, lowest first; empty when it is not there. */
  chain(key: string): Promise<SnapshotInfo[]>;
  /** Mounts of an active snapshot again. */
  mounts(key: string): Promise<Mount[]>;
  /**
   * Read-only mounts of a committed snapshot, which it is kept for until they are released. `kept`: a lease of the
   * caller's, or what stands on it, keeps it long enough already.
   */
  view(key: string, options?: { kept?: boolean }): Promise<{ mounts: Mount[]; release(): Promise<void> }>;
  /**
   * Turns an active snapshot into the committed `name`. `exists` when the name is taken: the active one stays, and
   * the lease holds the one that is there.
   */
  commit(
    name: string,
    activeKey: string,
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void>;
  /**
   * Makes committed `name`: the own layer of committed `source` on another parent, without copying. Undefined on
   * a store that cannot; callers then copy.
   */
  restack?(
    name: string,
    source: string,
    parent: string | undefined,
    options: { lease: string },
  ): Promise<void>;
  /**
   * Whether a committed snapshot is there with its folder and those of all below it. When a folder is gone (a disk's or
   * someone's doing), its snapshot and all that stand on it are forgotten, so that they are made again.
   */
  intact(key: string): Promise<boolean>;
  /** A committed snapshot with this chain ID, if one is known. */
  byChain(chain: Digest): Promise<SnapshotInfo | undefined>;
  setLabels(key: string, labels: Record<string, string | undefined>): Promise<void>;
  /** Own bytes and inodes of this layer, without its parents. */
  usage(key: string): Promise<{ size: number; inodes: number }>;
  list(): Promise<SnapshotInfo[]>;
  /** `conflict` while it has children or an open view. */
  remove(key: string): Promise<void>;
}

export interface ImageRecord {
  /** Normalized reference with tag or digest, e.g. `docker.io/library/app:latest`. */
  name: string;
  /** Manifest or index in content. */
  target: Descriptor;
  labels: Record<string, string>;
  createdAt: number;
  updatedAt: number;
}

export interface Images {
  get(name: string): Promise<ImageRecord | undefined>;
  /** All, by name; those that come and go meanwhile may be in it or not. */
  list(): Promise<ImageRecord[]>;
  /** Those that point to a target, by name. */
  of(target: Digest): Promise<ImageRecord[]>;
  /**
   * Creates or moves a name. Throws `not-found` when the target is not in content. `date`: seconds since the epoch, the
   * time that others who look into a shared store are to see; a store of our own keeps when it was done.
   */
  put(name: string, target: Descriptor, labels?: Record<string, string>, date?: number): Promise<ImageRecord>;
  delete(name: string): Promise<boolean>;
}

/** A lease keeps what was made under it until it is deleted or its process has died. */
export interface Leases {
  /**
   * `pinned` leases outlive the process (cache records use one each); others die with it. Making one's own or a
   * pinned lease again is fine; `conflict` when it is another process's. `holds` is added as `add` does.
   */
  create(id: string, options?: LeaseOptions): Promise<void>;
  /** Throws `not-found` when the lease or the thing is not there, or not whole; else it stays as long as the lease. */
  add(id: string, resource: LeaseResource): Promise<void>;
  removeResource(id: string, resource: LeaseResource): Promise<void>;
  resources(id: string): Promise<LeaseResource[]>;
  delete(id: string): Promise<void>;
  list(): Promise<{ id: string; pinned: boolean; labels: Record<string, string> }[]>;
}

export interface LeaseOptions {
  pinned?: boolean;
  labels?: Record<string, string>;
  holds?: readonly LeaseResource[];
}

export type LeaseResource = { type: 'snapshot'; id: string } | { type: 'blob'; id: Digest };
