/** What tells files of lazy layers from others. */
import { filesystemSync, lgetxattr } from '../linux/index.ts';
import type { Mount } from './mount.ts';
import { rootOf } from './real.ts';
import type { FsEntry } from './view.ts';

/** The name of the folder, in the run folder of a process, in which it serves lazy layers. */
export const lazyLayers = 'lazy-layers';

/** The extended attribute in which a lazy layer tells the digest of a file's content; it is not listed. */
export const digestXattr = 'user.drydock.digest';

/** The folder of a lazy layer on the host: `ROOT/run/ID/lazy-layers/NUMBER`. */
const layerFolder = new RegExp(`/run/[^/]+/${lazyLayers}/\\d+$`);

/**
 * Whether an entry's file is in a lazy layer. The folder of its tree alone tells: the path below it is the image's or
 * the build context's, which may have folders of the same names, and the attribute on their files.
 */
function isLazy({ hostPath, path }: FsEntry): boolean {
  return layerFolder.test(hostPath.slice(0, rootOf(hostPath, path)));
}

/** The lazy layers that mounts show: the names of their folders. */
export function lazyLayersOf(mounts: readonly Mount[]): Set<string> {
  const places = mounts.flatMap(({ source, options }) => [source, ...options]).join(':');
  const folders = places.matchAll(new RegExp(`/run/[^/:]+/${lazyLayers}/(\\d+)(?=[:,]|$)`, 'g'));
  return new Set(folders.map(([, layer = '']) => layer));
}

/** The kind of a FUSE filesystem in statfs(2). */
const fuse = 0x65735546;

/**
 * Whether reading a file at this place may wait for a server elsewhere: it is in a lazy layer, of ours or of a remote
 * snapshotter of containerd. The main thread must not read it.
 */
export function mayWait(hostPath: string): boolean {
  try {
    return filesystemSync(hostPath) === fuse;
  } catch {
    return false; // it is gone
  }
}

/**
 * What stands for the content of a lazy file that may not be here yet: its SHA-256 in hex, or, of a file of several
 * chunks, a digest of theirs (`chunks:…`). The content is checked against it when it is read. Undefined for other files.
 */
export function lazyDigest(entry: FsEntry): string | undefined {
  return isLazy(entry) ? lgetxattr(entry.hostPath, digestXattr)?.toString('latin1') : undefined;
}
