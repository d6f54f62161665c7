/** The limits of Linux on names (limits.h). A name beyond them costs no more than its error message. Pure. */
import { clip } from '../errors/index.ts';
import { nameLength } from '../linux/index.ts';

/** The largest number of bytes in one part of a path, and in a path with its closing zero. */
const nameMax = 255;
const pathMax = 4096;
const whiteout = '.wh.';

/** The reason why no file can have an archived path; undefined when one can. */
export function nameFault(path: string): string | undefined {
  if (path.length >= pathMax || nameLength(path) >= pathMax) {
    return `a path of ${nameLength(path)} bytes is longer than the ${pathMax - 1} that Linux takes: ${shown(path)}`;
  }
  if (path.length <= nameMax / 3) return undefined;
  for (const part of path.split('/')) {
    // A whiteout is no file itself: the name after its mark counts.
    const name = part.startsWith(whiteout) ? part.slice(whiteout.length) : part;
    if (name.length > nameMax || nameLength(name) > nameMax) {
      return `a name of ${nameLength(name)} bytes is longer than the ${nameMax} that Linux takes: ${shown(name)}`;
    }
  }
  return undefined;
}

/**
 * The largest number of bytes in an extended attribute's value and in its name (limits.h: XATTR_SIZE_MAX,
 * XATTR_NAME_MAX).
 */
const xattrValueMax = 65_536;
const xattrNameMax = 255;

/** The reason why no file can have archived extended attributes; undefined when one can. */
export function xattrFault(xattrs: ReadonlyMap<string, Uint8Array>): string | undefined {
  for (const [name, { length }] of xattrs) {
    if (length > xattrValueMax) {
      return `its extended attribute ${shown(name)} has ${length} bytes, more than the ${xattrValueMax} that Linux takes`;
    }
    if (nameLength(name) > xattrNameMax) {
      return `the name of its extended attribute ${shown(name)} is longer than the ${xattrNameMax} bytes that Linux takes`;
    }
  }
  return undefined;
}

function shown(path: string): string {
  return JSON.stringify(clip(path, 80));
}
