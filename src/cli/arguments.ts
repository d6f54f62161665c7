import { readFileSync, readlinkSync } from 'node:fs';
import { nameOf } from '../linux/index.ts';

/**
 * The arguments of the command. Node puts U+FFFD into arguments and into the working folder's path for bytes that are
 * not UTF-8. Here they are names as linux/names.ts has them, and from then on `process.cwd()` is such a name, too.
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
