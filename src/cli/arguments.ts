import { readFileSync, readlinkSync } from 'node:fs';
import { nameOf } from '../linux/index.ts';

/**
 * What the command was called with. Node has U+FFFD for what is no UTF-8 in its arguments and in the working folder's
 * path; here they are names as linux/names.ts has them, from then on also for `process.cwd()`.
 */
export function commandArguments(): string[] {
  const given = process.argv.slice(2);
  if (process.cwd().includes('\ufffd')) {
    const cwd = nameOf(readlinkSync('/proc/self/cwd', 'buffer'));
    process.cwd = () => cwd;
  }
  if (!given.some((arg) => arg.includes('\ufffd'))) return given;
  // Node's own arguments come first; a NUL ends each.
  return nameOf(readFileSync('/proc/self/cmdline')).split('\0').slice(0, -1).slice(-given.length);
}
