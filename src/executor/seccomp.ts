/**
 * The system calls that a step may not make. The kernel refuses most privileged calls by itself to a process that lacks
 * the capability. This list closes the calls that need none (namespaces of one's own, keyrings, io_uring, bpf and the
 * like) and backs up the capability checks on the rest. Every other call is allowed, so that new calls work without a
 * new list.
 */

const EPERM = 1;
const ENOSYS = 38;
const CLONE_FLAGS = {
  NEWNS: 0x00020000,
  NEWCGROUP: 0x02000000,
  NEWUTS: 0x04000000,
  NEWIPC: 0x08000000,
  NEWUSER: 0x10000000,
  NEWPID: 0x20000000,
  NEWNET: 0x40000000,
};
/**
 * The families of sockets that lead past the container: to the machine's hypervisor, and into the kernel's ciphers, by
 * which files of others that are in memory could be changed (CVE-2026-31431).
 */
const families = { ALG: 38, VSOCK: 40 };

/** The calls that are refused with EPERM. */
const refused = [
  // Mounts and namespaces.
  ...['mount', 'umount', 'umount2', 'pivot_root', 'setns', 'unshare', 'mount_setattr', 'move_mount'],
  ...['open_tree', 'fsopen', 'fsconfig', 'fsmount', 'fspick', 'open_by_handle_at', 'quotactl', 'quotactl_fd'],
  // Keyrings are not namespaced.
  ...['add_key', 'keyctl', 'request_key'],
  // Kernel memory, programs in the kernel, and large attack surfaces.
  ...['bpf', 'perf_event_open', 'userfaultfd', 'io_uring_setup', 'io_uring_enter', 'io_uring_register'],
  ...['lookup_dcookie', 'kcmp', 'process_madvise', 'pidfd_getfd'],
  // The machine as a whole.
  ...['reboot', 'kexec_load', 'kexec_file_load', 'init_module', 'finit_module', 'delete_module'],
  ...['create_module', 'query_module', 'get_kernel_syms', 'swapon', 'swapoff', 'acct', 'syslog'],
  ...['settimeofday', 'stime', 'clock_settime', 'clock_settime64', 'sethostname', 'setdomainname'],
  ...['iopl', 'ioperm', 'vhangup', 'nfsservctl', 'uselib', 'ustat', 'sysfs', '_sysctl', 'vm86', 'vm86old'],
  ...['mbind', 'set_mempolicy', 'get_mempolicy', 'migrate_pages', 'move_pages'],
];

const architectures: Record<string, string[]> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

/**
 * The member `linux.seccomp` of the runtime spec; undefined on a machine type that the list was not written for.
 *
 * 32-bit x86 programs of many C libraries (glibc of Debian, Fedora, Ubuntu) open all sockets by `socketcall`, which has
 * the family behind a pointer, where a filter does not see it: a rule for `socket` refuses that call as a whole. With
 * `anySocket` there is no such rule.
 */
export function seccompProfile(arch: string, anySocket = false): object | undefined {
  const list = architectures[arch];
  if (list === undefined) return undefined;
  const errno = (errnoRet: number, names: string[], args?: object[]) => ({
    names,
    action: 'SCMP_ACT_ERRNO',
    errnoRet,
    ...(args === undefined ? {} : { args }),
  });
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: list,
    syscalls: [
      errno(EPERM, refused),
      // Its flags are behind a pointer, so they cannot be checked; libcs fall back to clone.
      errno(ENOSYS, ['clone3']),
      ...Object.values(CLONE_FLAGS).map((flag) =>
        errno(EPERM, ['clone'], [{ index: 0, value: flag, valueTwo: flag, op: 'SCMP_CMP_MASKED_EQ' }]),
      ),
      ...Object.values(anySocket ? {} : families).map((family) =>
        errno(EPERM, ['socket'], [{ index: 0, value: family, op: 'SCMP_CMP_EQ' }]),
      ),
    ],
  };
}
