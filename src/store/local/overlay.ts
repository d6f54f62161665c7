/** Finds out which options this kernel's overlayfs needs, and whether it works on a folder's filesystem. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  inUserNamespace,
  lsetxattr,
  MNT_DETACH,
  mknod,
  mount,
  overlayXattr,
  S_IFCHR,
  umount,
} from '../../linux/index.ts';

/**
 * The mount options with which the kernel writes layers that can be read without it. `index=off` lets a layer be under
 * several mounts; redirects and metadata-only copies are turned off where they are on by default, and so they are by
 * `userxattr`, which an overlay in a user namespace needs (Linux 5.11).
 * https://docs.kernel.org/filesystems/overlayfs.html
 */
export function overlayOptions(): string[] {
  const options: string[] = [];
  if (parameter('index') !== undefined) options.push('index=off');
  if (inUserNamespace()) return [...options, 'userxattr'];
  if (parameter('redirect_dir') === 'Y') options.push('redirect_dir=off');
  if (parameter('metacopy') === 'Y') options.push('metacopy=off');
  return options;
}

function parameter(name: string): string | undefined {
  try {
    return readFileSync(`/sys/module/overlay/parameters/${name}`, 'latin1').trim();
  } catch {
    return undefined;
  }
}

/**
 * Tries overlayfs on the filesystem of an existing folder: undefined when it works, else the reason why it does not.
 */
export function whyNoOverlay(folder: string): string | undefined {
  const dir = join(folder, 'overlay-probe');
  const at = (name: string) => join(dir, name);
  let mounted = false;
  try {
    for (const name of ['l1/d', 'l2', 'u', 'w', 'm']) mkdirSync(at(name), { recursive: true });
    writeFileSync(at('l2/gone'), '');
    mknod(at('l1/gone'), S_IFCHR, 0);
    lsetxattr(at('l1/d'), overlayXattr('opaque'), Buffer.from('y'));
    const quoted = (path: string) => path.replaceAll(/[\\:,]/g, '\\$&');
    const folders = `workdir=${quoted(at('w'))},upperdir=${quoted(at('u'))}`;
    const lower = `lowerdir=${quoted(at('l1'))}:${quoted(at('l2'))}`;
    mount('overlay', at('m'), 'overlay', 0, [...overlayOptions(), folders, lower].join(','));
    mounted = true;
    writeFileSync(at('m/d/new'), 'x');
    return undefined;
  } catch (err) {
    return err instanceof Error ? err.message : String(err);
  } finally {
    if (mounted) umount(at('m'), MNT_DETACH);
    rmSync(dir, { recursive: true, force: true });
  }
}
