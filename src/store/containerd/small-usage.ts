/** How much a small folder takes. A look at a few files costs less than a call to containerd. */
import { diskUse, readdirSync } from '../../linux/index.ts';

/** The most files that are looked at. containerd counted those of a larger snapshot when it was committed. */
const most = 16;

/**
 * The bytes on disk and the inodes of a folder's contents, without the folder itself; undefined when they are many, when a
 * file has several names, or when there is no such folder.
 */
export function smallUsage(dir: string): { size: number; inodes: number } | undefined {
  const folders = [dir];
  let size = 0;
  let inodes = 0;
  try {
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      for (const name of readdirSync(folder)) {
        const path = `${folder}/${name}`;
        const use = diskUse(path);
        if (use === undefined || use.inode !== undefined || ++inodes > most) return undefined;
        if (use.isFolder) folders.push(path);
        size += use.bytes;
      }
    }
  } catch {
    return undefined;
  }
  return { size, inodes };
}
