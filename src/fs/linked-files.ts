/**
 * Which files of a layer are links of files that a client has sent. One file may be in many layers, but in one stack of
 * layers it must have one path: programs in a container would take two paths for hard links of each other, which they
 * are not. So each such layer has a list of these files, by inode, beside its folder.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { errnoCode } from '../errors/index.ts';

/** The list of a layer's folder. */
function listOf(layer: string): string {
  return `${layer}.linked`;
}

/** Whether a layer has linked files. */
export function hasLinked(layer: string): boolean {
  return existsSync(listOf(layer));
}

/** The inodes of a layer's linked files. */
export function readLinked(layer: string): BigUint64Array {
  try {
    const bytes = readFileSync(listOf(layer));
    const inodes = new BigUint64Array(bytes.length >> 3);
    bytes.copy(new Uint8Array(inodes.buffer));
    return inodes;
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return new BigUint64Array(0);
    throw err;
  }
}

/** Adds inodes to a layer's list. Call it before the layer is committed. */
export function addLinked(layer: string, inodes: ReadonlySet<bigint>): void {
  if (inodes.size === 0) return;
  const all = BigUint64Array.from(inodes.union(new Set(readLinked(layer))));
  writeFileSync(listOf(layer), new Uint8Array(all.buffer), { mode: 0o600 });
}

/** The worker task `fs.shares`: whether a layer has a linked file that one of the other layers has, too. */
export function sharesFiles({ layer, others }: { layer: string; others: readonly string[] }): boolean {
  const mine = new Set(readLinked(layer));
  return others.some((other) => other !== layer && readLinked(other).some((inode) => mine.has(inode)));
}
