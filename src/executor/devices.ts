/**
 * The devices of steps with `--security=insecure`, besides those that every container has: programs that mount images
 * need them.
 */
import { readdirSync } from 'node:fs';

/**
 * A device as the runtime takes it. https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#devices
 */
export interface OciDevice {
  path: string;
  /** `u` is a character device without a buffer, `p` a pipe with a name. */
  type: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  uid: number;
  gid: number;
}

/** How many loop devices a step may make beyond those that the machine has. */
const moreLoops = 8;

/** Character devices of an insecure step. Numbers: https://docs.kernel.org/admin-guide/devices.html */
const characterDevices: [path: string, major: number, minor: number][] = [
  ['/dev/kmsg', 1, 11],
  ['/dev/cuse', 10, 203],
  ['/dev/fuse', 10, 229],
  ['/dev/kvm', 10, 232],
  ['/dev/net/tun', 10, 200],
  ['/dev/loop-control', 10, 237],
];

/** BuildKit's devices of insecure steps: the kernel's log, fuse, kvm, tunnels, loop devices. */
export function insecureDevices(names: readonly string[] = readdirSync('/dev')): OciDevice[] {
  const node = (path: string, type: OciDevice['type'], major: number, minor: number): OciDevice => ({
    ...{ path, type, major, minor },
    ...{ fileMode: 0o666, uid: 0, gid: 0 },
  });
  const loops = names.flatMap((name) => /^loop(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  const count = Math.max(-1, ...loops) + 1 + moreLoops;
  return [
    ...characterDevices.map(([path, major, minor]) => node(path, 'c', major, minor)),
    ...Array.from({ length: count }, (_, i) => node(`/dev/loop${i}`, 'b', 7, i)),
  ];
}
