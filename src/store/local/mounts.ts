/** Makes mounts from a stack of layer folders. Pure. */
import { fail } from '../../errors/index.ts';
import { folderOption, type Mount } from '../../fs/index.ts';

/** A layer of a stack. */
export interface StackLayer {
  id: number;
  /** Whether the contents of its files are fetched when they are read. */
  lazy: boolean;
}

interface Stack {
  /** The layers, topmost first. */
  layers: readonly StackLayer[];
  /** Whether the topmost layer can be written to. */
  writable: boolean;
}

export interface MountPlaces {
  /** The folder of all snapshots. */
  folder: string;
  /** Mount options that this kernel needs besides the folders. */
  options: readonly string[];
  /** The folder of a lazy layer. */
  lazyFolder(id: number): string;
}

/** The mounts of a stack on overlayfs: a bind of a single layer, else one overlay, however deep. */
export function overlayMounts(stack: Stack, { folder, options, lazyFolder }: MountPlaces): Mount[] {
  const path = ({ id, lazy }: StackLayer) => (lazy ? lazyFolder(id) : `${folder}/${id}/fs`);
  const [top] = stack.layers;
  if (top === undefined) throw fail('internal', 'store', 'a stack without layers has no mounts');
  // A lazy layer is written to while it is being made.
  const topPath = path(stack.writable ? { ...top, lazy: false } : top);
  // The kernel refuses a folder that is in a stack twice; its lower copy would be hidden by the upper one anyway.
  const lower = [...new Set(stack.layers.slice(1).map(path))].filter((each) => each !== topPath);
  if (lower.length === 0) return [bind(topPath, stack.writable)];
  const folders = stack.writable
    ? [
        folderOption('workdir', [`${folder}/${top.id}/work`]),
        folderOption('upperdir', [topPath]),
        folderOption('lowerdir', lower),
      ]
    : [folderOption('lowerdir', [topPath, ...lower])];
  return [{ type: 'overlay', source: 'overlay', options: [...options, ...folders] }];
}

/** A bind mount of a folder. */
export function bind(source: string, writable: boolean): Mount {
  return { type: 'bind', source, options: [writable ? 'rw' : 'ro', 'rbind'] };
}
