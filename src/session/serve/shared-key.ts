import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { realpathSync } from '../../linux/index.ts';
import { digestOf, hex } from '../../oci/index.ts';

/** Names a folder of this machine across builds, without telling its path: a session's shared key. */
export function sharedKeyOf(dir: string): string {
  let path = resolve(dir);
  try {
    path = realpathSync(path);
  } catch {
    // The build will say that it is not there.
  }
  return hex(digestOf(JSON.stringify(['drydock', machine(), process.getuid?.() ?? 0, path])));
}

/** https://www.freedesktop.org/software/systemd/man/latest/machine-id.html; where there is none, the host's name. */
function machine(): string {
  try {
    return readFileSync('/etc/machine-id', 'utf8').trim() || hostname();
  } catch {
    return hostname();
  }
}
