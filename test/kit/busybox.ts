/** A root filesystem made from Debian's busybox-static, as layer folders for an overlay. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const applets =
  'sh cat chmod chown dd echo env false head hostname id ip kill ln ls mkdir mknod mount nc pwd readlink rm rmdir ' +
  'seq sleep stat sync tail tee test touch true tty ulimit umount unshare wc yes';

/** Fills a folder with /bin (busybox), /etc/passwd, /etc/group and /tmp. */
export function busyboxRoot(dir: string): void {
  for (const name of ['bin', 'etc', 'tmp']) mkdirSync(join(dir, name), { recursive: true });
  const binary = ['/bin/busybox', '/usr/bin/busybox'].find(existsSync);
  if (binary === undefined) throw new Error('busybox-static is not installed');
  copyFileSync(binary, join(dir, 'bin/busybox'));
  for (const applet of applets.split(' ')) symlinkSync('busybox', join(dir, 'bin', applet));
  writeFileSync(
    join(dir, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n',
  );
  writeFileSync(join(dir, 'etc/group'), 'root:x:0:\nann:x:1001:\nwheel:x:10:root,ann\nvideo:x:44:ann\n');
}

/** Copies a program of this machine into such a root, with the libraries it is linked to. */
export function addProgram(path: string, dir: string): void {
  const linked = execFileSync('ldd', [path], { encoding: 'utf8' });
  for (const file of [path, ...(linked.match(/\/\S+(?= \(0x)/g) ?? [])]) {
    mkdirSync(join(dir, dirname(file)), { recursive: true });
    copyFileSync(file, join(dir, file));
  }
  copyFileSync(path, join(dir, 'bin', basename(path)));
}
