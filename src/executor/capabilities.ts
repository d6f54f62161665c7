/** The Linux capabilities of a step. */
import { readFileSync } from 'node:fs';

/**
 * The capabilities in the kernel's order: the index is the bit.
 * https://man7.org/linux/man-pages/man7/capabilities.7.html
 */
const names = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT ' +
  'SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL ' +
  'SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

/**
 * The capabilities that docker gives a container by default.
 * https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
 */
const usual = new Set(
  (
    'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT ' +
    'KILL AUDIT_WRITE'
  )
    .split(' ')
    .map((name) => `CAP_${name}`),
);

/**
 * The capabilities of a sandboxed or an insecure step, as far as this process may give them away. A sandboxed one whose
 * network is held by routes alone makes no packets itself.
 */
export function capabilitiesFor(
  security: 'sandbox' | 'insecure',
  bounding: bigint,
  { heldByRoutes = false } = {},
): string[] {
  const isGiven = (name: string) =>
    security === 'insecure' || (usual.has(name) && !(heldByRoutes && name === 'CAP_NET_RAW'));
  return names.filter((name, bit) => ((bounding >> BigInt(bit)) & 1n) === 1n && isGiven(name));
}

/** The bounding set of this process. */
export function ownBoundingSet(): bigint {
  const hex = /^CapBnd:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  return BigInt(`0x${hex ?? '0'}`);
}
