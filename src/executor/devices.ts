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
  type: 'b' | 'c';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

/** How many loop devices a step may make beyond those that the machine has. */
const moreLoops = 8;

/** /dev/fuse, /dev/loop-control and loop devices. Numbers: https://docs.kernel.org/admin-guide/devices.html */
export function insecureDevices(names: readonly string[] = readdirSync('/dev')): OciDevice[] {
  const node = (path: string, type: OciDevice['type'], major: number, minor: number): OciDevice => ({
    ...{ path, type, major, minor },
    ...{ fileMode: 0o660, uid: 0, gid: 0 },
  });
  const loops = names.flatMap((name) => /^loop(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  const count = Math.max(-1, ...loops) + 1 + moreLoops;
  return [
    { ...node('/dev/fuse', 'c', 10, 229), fileMode: 0o666 },
    node('/dev/loop-control', 'c', 10, 237),
    ...Array.from({ length: count }, (_, i) => node(`/dev/loop${i}`, 'b', 7, i)),
  ];
}
