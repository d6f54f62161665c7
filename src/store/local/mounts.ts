/** Makes mounts from a stack of layer folders. Pure. */
import { fail } from '../../errors/index.ts';
import { folderOption, type Mount } from '../../fs/index.ts';

interface Stack {
  /** Layer ids, topmost first. */
  layers: readonly number[];
  /** Whether the topmost layer can be written to. */
  writable: boolean;
}

export interface MountPlaces {
  /** The folder of all snapshots. */
  folder: string;
  /** Mount options that this kernel needs besides the folders. */
  options: readonly string[];
}

/** The mounts of a stack on overlayfs: a bind of a single layer, else one overlay, however deep. */
export function overlayMounts(stack: Stack, { folder, options }: MountPlaces): Mount[] {
  // The kernel refuses a folder that is in a stack twice; its lower copy would be hidden by the upper one anyway.
  const layers = [...new Set(stack.layers)];
  const [top, ...lower] = layers;
  if (top === undefined) throw fail('internal', 'store', 'a stack without layers has no mounts');
  const path = (id: number) => `${folder}/${id}/fs`;
  if (lower.length === 0) return [bind(path(top), stack.writable)];
  const folders = stack.writable
    ? [
        folderOption('workdir', [`${folder}/${top}/work`]),
        folderOption('upperdir', [path(top)]),
        folderOption('lowerdir', lower.map(path)),
      ]
    : [folderOption('lowerdir', layers.map(path))];
  return [{ type: 'overlay', source: 'overlay', options: [...options, ...folders] }];
}

/** A bind mount of a folder. */
export function bind(source: string, writable: boolean): Mount {
  return { type: 'bind', source, options: [writable ? 'rw' : 'ro', 'rbind'] };
}
