/**
 * The interface of fs's writing side: file actions, which the worker task `fs.apply` applies to a layer folder. Nothing
 * is mounted: the target is read through its view and written as overlayfs would (copy-up, whiteouts, opaque folders).
 * Fields have the meaning of LLB's FileAction fields of the same names.
 *
 *     const target: ViewSpec = { kind: 'layers', dirs: [upper, lower] };
 *     await runTask('fs.apply', { target, actions: [{ kind: 'mkdir', path: '/app', … }] });
 */
import type { ViewSpec } from './view.ts';

/** A user or group by number, or by name looked up in a tree's /etc/passwd or /etc/group. */
export type OwnerId = { id: number } | { name: string; in: ViewSpec };

/** The owner of new files; a part that is not given stays as it would be without it. */
export interface OwnerSpec {
  user?: OwnerId;
  group?: OwnerId;
}

interface Common {
  owner?: OwnerSpec;
  /** The time of everything that is made, ns since the epoch; undefined: now for new files, the source's for copies. */
  timestampNs?: bigint;
}

/** One change of a tree, in the terms of LLB's FileOp. */
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
      /** Octal digits or symbolic (`u+x,go-w`), as in chmod(1); undefined keeps the source's. */
      mode?: string;
      followSymlink: boolean;
      dirCopyContents: boolean;
      /** Whether a source that is a tar, plain or compressed, is unpacked (ADD). */
      unpack: boolean;
      createDestPath: boolean;
      allowWildcard: boolean;
      allowEmptyWildcard: boolean;
      includes: string[];
      excludes: string[];
      alwaysReplaceExistingDestPaths: boolean;
      requiredPaths: string[];
      /** Whether files of a `kept` or `given` folder may be linked into the target, since nobody writes to it later. */
      link?: boolean;
    } & Common);

export interface ApplyArgs {
  /** The layer to change: `dirs[0]` is its writable folder, the rest are its lower layers, topmost first. */
  target: Extract<ViewSpec, { kind: 'layers' }>;
  /** The actions in order; each sees the results of those before. */
  actions: FileActionSpec[];
}

export interface ApplyResult {
  /** Files, folders and links written. */
  entries: number;
  /** Bytes of file contents written. */
  bytes: number;
}
