/** The door of tar: entries as they stand in an archive, pushed to a handler while bytes arrive. */

/** What a file of a tree may be. */
export type FileType = 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket';

export interface TarEntry {
  /**
   * Path as archived, cleaned: no leading `/` or `./`, no `.` parts, no trailing slash; '' is the root folder. It
   * may still hold `..`: whoever writes it out refuses or clamps it. Names are as linux/names.ts has them.
   */
  path: string;
  type: Exclude<FileType, 'socket'> | 'hardlink';
  /** 0 … 0o7777 */
  mode: number;
  uid: number;
  gid: number;
  uname: string;
  gname: string;
  /** Bytes that `data` calls will bring (for a sparse file: its full size, holes included). */
  size: number;
  mtimeNs: bigint;
  /** Symlink target as archived; hardlink: the other entry's path, cleaned. */
  link?: string;
  devmajor: number;
  devminor: number;
  /** `SCHILY.xattr.*` */
  xattrs: Map<string, Buffer>;
  /** Data regions of a sparse file, in order; outside them are holes. `data` calls bring only the regions' bytes. */
  sparse?: { offset: number; length: number }[];
}

export interface TarHandler {
  entry(entry: TarEntry): void;
  /** Bytes of the last entry. The chunk is only valid during the call. */
  data(chunk: Uint8Array): void;
  /** The last entry is complete. */
  end(): void;
}
