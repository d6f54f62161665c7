/** The paths below a local store's root. Pure. */
import { join } from 'node:path';
import { type Digest, hex } from '../../oci/index.ts';

/** The paths of a store's parts. */
export interface RootLayout {
  root: string;
  /** SQLite metadata. */
  db: string;
  /** `blobs/sha256/ab/<hex digest>` */
  blobs: string;
  /** `snapshots/<layer id>/fs` (and `work`, for overlayfs): short names, for they are listed in mount options. */
  snapshots: string;
  /** Blobs being written. */
  ingest: string;
  /** One folder per process that has the store open. */
  run: string;
}

export function layoutOf(root: string): RootLayout {
  return {
    root,
    db: join(root, 'store.db'),
    blobs: join(root, 'blobs', 'sha256'),
    snapshots: join(root, 'snapshots'),
    ingest: join(root, 'ingest'),
    run: join(root, 'run'),
  };
}

export function blobFolder(layout: RootLayout, digest: Digest): string {
  return join(layout.blobs, hex(digest).slice(0, 2));
}

export function blobPath(layout: RootLayout, digest: Digest): string {
  return join(blobFolder(layout, digest), hex(digest));
}

export function layerFolder(layout: RootLayout, id: number): string {
  return join(layout.snapshots, String(id));
}
