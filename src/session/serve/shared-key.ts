import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { realpathSync } from '../../linux/index.ts';
import { digestOf, hex } from '../../oci/index.ts';

/** A name for a folder of this machine across builds that does not tell the folder's path: the session's shared key. */
export function sharedKeyOf(dir: string): string {
  let path = resolve(dir);
  try {
    path = realpathSync(path);
  } catch {
    // The build will say that it is not there.
  }
  return hex(digestOf(JSON.stringify(['drydock', machine(), process.getuid?.() ?? 0, path])));
}

/**
 * The machine's ID (https://www.freedesktop.org/software/systemd/man/latest/machine-id.html), or the host's name when
 * there is none.
 */
function machine(): string {
  try {
    return readFileSync('/etc/machine-id', 'utf8').trim() || hostname();
  } catch {
    return hostname();
  }
}
