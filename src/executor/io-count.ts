/**
 * Has the blkio controller of cgroups v1 count what steps read and write. Newer kernels count only in groups that have
 * a limit there, so each group gets one that no disk can reach.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { CgroupHost } from './cgroups.ts';

/** Bytes a second. */
const unreachable = 2 ** 40;

/** The disk whose use is counted. */
interface Disk {
  major: number;
  minor: number;
}

/** The disk that a folder is on; undefined when it is not on one, or when this machine counts by itself or not at all. */
export function countedDisk(host: CgroupHost, folder: string): Disk | undefined {
  if (host.kind !== 'v1') return undefined;
  const tree = host.trees.find((each) => existsSync(join(each, 'blkio.throttle.read_bps_device')));
  const disk = diskOf(statSync(folder).dev);
  return tree !== undefined && disk !== undefined && takes(tree, disk) ? disk : undefined;
}

/** The member `linux.resources.blockIO`. */
export function countingRule(disk: Disk): object {
  const rule = [{ ...disk, rate: unreachable }];
  return { throttleReadBpsDevice: rule, throttleWriteBpsDevice: rule };
}

/** The whole disk that a filesystem's device is, or is a part of. Filesystems over several disks have a number of none. */
function diskOf(dev: number): Disk | undefined {
  // As glibc puts device numbers together.
  const major = Math.floor(dev / 256) & 0xfff;
  const minor = (dev & 0xff) | (Math.floor(dev / 4096) & 0xfff00);
  try {
    const at = realpathSync(`/sys/dev/block/${major}:${minor}`);
    const whole = existsSync(join(at, 'partition')) ? join(at, '..') : at;
    const [wholeMajor, wholeMinor] = readFileSync(join(whole, 'dev'), 'utf8').trim().split(':').map(Number);
    return { major: Number(wholeMajor), minor: Number(wholeMinor) };
  } catch {
    return undefined;
  }
}

/** Whether groups of this tree take such a limit. */
function takes(tree: string, { major, minor }: Disk): boolean {
  const group = join(tree, `drydock-probe-${process.pid}`);
  try {
    mkdirSync(group);
    try {
      writeFileSync(join(group, 'blkio.throttle.read_bps_device'), `${major}:${minor} ${unreachable}`);
      return true;
    } finally {
      rmdirSync(group);
    }
  } catch {
    return false;
  }
}
