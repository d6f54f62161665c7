/** The interface of tar: entries in the form of the archive, passed to a handler while bytes arrive. */

/** The types of files in a tree. */
export type FileType = 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

/** One entry of an archive. */
export interface TarEntry {
  /**
   * The archived path, cleaned: no leading `/` or `./`, no `.` parts, no trailing slash; '' is the root folder. It may
   * still have `..`, which the writer of the files refuses or clamps. Names are spelled as in linux/names.ts.
   */
  path: string;
  type: Exclude<FileType, 'socket'> | 'hardlink';
  /** The path as the archive spells it, where `path` is another. */
  rawPath?: string;
  /** 0 … 0o7777 */
  mode: number;
  uid: number;
  gid: number;
  uname: string;
  gname: string;
  /** The number of bytes that `data` calls will bring; for a sparse file its full size, with holes. */
  size: number;
  mtimeNs: bigint;
  /** For a symlink, its target as archived; for a hard link, the other entry's path, cleaned. */
  link?: string;
  /** The target as the archive spells it, where `link` is another. */
  rawLink?: string;
  devmajor: number;
  devminor: number;
  /** `SCHILY.xattr.*` */
  xattrs: Map<string, Buffer>;
  /**
   * The regions with data of a sparse file, in order; between them are holes. `data` calls bring the regions' bytes
   * only.
   */
  sparse?: { offset: number; length: number }[];
}

/** Receives the entries of an archive in order: `entry`, then `data` for its bytes, then `end`. */
export interface TarHandler {
  entry(entry: TarEntry): void;
  /** Brings bytes of the last entry. The chunk is valid only during the call. */
  data(chunk: Uint8Array): void;
  /** Ends the last entry. */
  end(): void;
}
