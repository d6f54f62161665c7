/**
 * fsutil's packets (proto/fsutil/wire.proto). They are read and written by hand, because a context has a hundred
 * thousand of them.
 */

export const STAT = 0;
export const REQ = 1;
export const DATA = 2;
export const FIN = 3;
export const ERR = 4;

/** The description of a file at the sender. */
export interface Stat {
  /** The path, relative and clean, with `/` between its parts. */
  path: string;
  /** Go's os.FileMode. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** ns since the epoch */
  mtimeNs: bigint;
  link: string;
  devmajor: number;
  devminor: number;
  xattrs: [name: string, value: Buffer][];
}

export interface Packet {
  type: number;
  stat: Stat | undefined;
  /** The bytes of `stat` on the wire: a part of the message, not a copy. */
  statBytes: Uint8Array;
  id: number;
  /** A part of the message that was read, not a copy. */
  data: Uint8Array;
}
