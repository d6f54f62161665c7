/** From a stack of layer folders to mounts. Pure. */
import { fail } from '../../errors/error.ts';
import type { Mount } from '../store.ts';

/**
 * mount(2) takes one page of options. This leaves room for a few that a caller adds (`volatile`, `userxattr`, …).
 * https://man7.org/linux/man-pages/man2/mount.2.html
 */
const optionBytes = 3900;

export interface Stack {
  /** Layer ids, topmost first. */
  layers: readonly number[];
  /** The topmost layer can be written to. */
  writable: boolean;
}

export interface MountPlaces {
  /** The snapshots folder. */
  folder: string;
  /** A short name of the same folder, for stacks whose options get too long, or a folder that needs escaping. */
  short(): string;
  /** Options that this kernel needs beside the folders. */
  options: readonly string[];
}

/** Mounts of a stack on overlayfs: a bind of a lone layer, else an overlay. Throws `unsupported` when too deep. */
export function overlayMounts(stack: Stack, places: MountPlaces): Mount[] {
  // The kernel refuses a folder that is in a stack twice; a lower copy is hidden by the upper one anyway.
  const layers = [...new Set(stack.layers)];
  const [top, ...lower] = layers;
  if (top === undefined) throw fail('internal', 'store', 'a stack without layers has no mounts');
  if (lower.length === 0) return [bind(`${places.folder}/${top}/fs`, stack.writable)];
  const optionsIn = (folder: string) => {
    const path = (id: number) => `${folder}/${id}/fs`;
    if (!stack.writable) return [...places.options, `lowerdir=${layers.map(path).join(':')}`];
    return [
      ...places.options,
      `workdir=${folder}/${top}/work`,
      `upperdir=${path(top)}`,
      `lowerdir=${lower.map(path).join(':')}`,
    ];
  };
  const tooLong = (options: string[]) => Buffer.byteLength(options.join(',')) > optionBytes;
  let options = optionsIn(places.folder);
  if (/[\\:,]/.test(places.folder) || tooLong(options)) options = optionsIn(places.short());
  if (tooLong(options)) {
    throw fail('unsupported', 'store', `${layers.length} layers are more than one overlay mount can stack`, {
      hint: 'Join RUN steps, or start a new stage and COPY --from the old one.',
    });
  }
  return [{ type: 'overlay', source: 'overlay', options }];
}

/** A bind mount of a folder. */
export function bind(source: string, writable: boolean): Mount {
  return { type: 'bind', source, options: [writable ? 'rw' : 'ro', 'rbind'] };
}
