/**
 * The door of fs's writing side: file actions applied to a layer folder by the worker task `fs.apply`. Nothing is
 * mounted: the target is read through its view and written as overlayfs would (copy-up, whiteouts, opaque folders).
 * Fields mean what LLB's FileAction fields of the same names mean.
 */
import type { ViewSpec } from './view.ts';

/** A user or group by number, or by name looked up in a tree's /etc/passwd or /etc/group. */
export type OwnerId = { id: number } | { name: string; in: ViewSpec };

export interface OwnerSpec {
  user?: OwnerId;
  group?: OwnerId;
}

interface Common {
  owner?: OwnerSpec;
  /** Times for all that is made, ns since the epoch; undefined: now (made) or the source's (copied). */
  timestampNs?: bigint;
}

export type FileActionSpec =
  | ({ kind: 'mkdir'; path: string; mode: number; makeParents: boolean } & Common)
  | ({ kind: 'mkfile'; path: string; mode: number; data: Uint8Array } & Common)
  | ({ kind: 'symlink'; oldpath: string; newpath: string } & Common)
  | { kind: 'rm'; path: string; allowNotFound: boolean; allowWildcard: boolean }
  | ({
      kind: 'copy';
      source: ViewSpec;
      src: string;
      dest: string;
      /** Octal digits or symbolic (`u+x,go-w`), as chmod(1); undefined keeps the source's. */
      mode?: string;
      followSymlink: boolean;
      dirCopyContents: boolean;
      /** Unpack src when it is a tar, plain or compressed (ADD). */
      unpack: boolean;
      createDestPath: boolean;
      allowWildcard: boolean;
      allowEmptyWildcard: boolean;
      includes: string[];
      excludes: string[];
      alwaysReplaceExistingDestPaths: boolean;
      requiredPaths: string[];
      /** The target is a layer, which nobody writes to later: files of a `given` folder may be linked into it. */
      link?: boolean;
    } & Common);

export interface ApplyArgs {
  /** `dirs[0]` is the writable layer folder; the rest are its lower layers, topmost first. */
  target: Extract<ViewSpec, { kind: 'layers' }>;
  /** In order; later ones see what earlier ones made. */
  actions: FileActionSpec[];
}

export interface ApplyResult {
  /** Files, folders and links written. */
  entries: number;
  /** Bytes of file contents written. */
  bytes: number;
}
