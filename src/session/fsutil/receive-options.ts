export interface ReceiveOptions {
  /**
   * `mirror`: `dest` becomes exactly the sent tree; files that are there and are the same (type, size, mode, times)
   * stay and are not asked for. `fresh`: `dest` is emptied first. `merge`: the sent tree comes on top of the files that
   * are there.
   */
  mode: 'mirror' | 'fresh' | 'merge';
  /** Keeps the owners that are sent; otherwise all files are ours. */
  owners: boolean;
  /**
   * Says that `dest` may be of another folder, with the same paths, sizes and times but other bytes. A file whose time
   * is a whole second, as in archives and reproducible trees, is then asked for again.
   */
  wary?: boolean;
  /**
   * Says that the files in `dest` are the user's own: a file stays until the one that takes its place is whole, and a
   * device, FIFO or socket is not replaced.
   */
  careful?: boolean;
  /** The most files, folders and links that are taken; default 4 million. */
  maxEntries?: number;
}
