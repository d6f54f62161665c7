/**
 * Calls to the kernel that reach beyond a container: each is tried by a step, as root of its container and as another
 * user, with the numbers of this machine's type (and of x86's other two). None of them may succeed.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ExecSpec } from '../../src/executor/types.ts';
import { Harness } from '../executor/harness.ts';

let h: Harness;
beforeAll(() => {
  h = new Harness();
  // The host's perl, which makes any call by its number. Debian has it on every machine.
  mkdirSync(join(h.lower, 'usr'), { recursive: true });
  for (const name of ['lib', 'lib64']) symlinkSync(`usr/${name}`, join(h.lower, name));
});
afterAll(() => h.close());

const usr: ExecSpec['mounts'] = [{ dest: '/usr', readonly: true, source: { type: 'host', path: '/usr' } }];

/** Runs a program in perl in a step. */
const perl = (program: string, more: Partial<ExecSpec> = {}) =>
  h.run(['/usr/bin/perl', '-e', program], { mounts: usr, ...more });

describe.skipIf(process.arch !== 'x64')('a 32-bit program, which opens sockets by socketcall', () => {
  // Debian's, whose C library knows no other call for it.
  const nc = ['/bin/busybox-i386', 'nc', '127.0.0.1', '1'];
  beforeAll(() => {
    cpSync('/usr/local/lib/drydock-test/busybox-i386', join(h.lower, 'bin/busybox-i386'));
  });

  test('opens none in a step of another platform, whose filter does not see what it asks for', async () => {
    const { exitCode, err } = await h.run(nc, { machine: 'amd64' });
    expect([exitCode, err]).toEqual([1, expect.stringContaining('Operation not permitted')]);
  });

  test('opens them in a step of its own', async () => {
    const { exitCode, err } = await h.run(nc, { machine: '386' });
    expect([exitCode, err]).toEqual([1, expect.stringContaining('Connection refused')]);
  });
});

/** Names → numbers, x64 and arm64. https://github.com/torvalds/linux/tree/master/arch */
const calls: Record<string, [x64: number, arm64: number, args?: string]> = {
  // Mounts and namespaces.
  mount: [165, 40, '"none", "/tmp", "tmpfs", 0, 0'],
  umount2: [166, 39, '"/proc", 2'],
  pivot_root: [155, 41, '"/", "/"'],
  'unshare of a user namespace': [272, 97, '0x10000000'],
  'unshare of a mount namespace': [272, 97, '0x20000'],
  setns: [308, 268, '0, 0'],
  open_tree: [428, 428, '-100, "/", 1'],
  fsopen: [430, 430, '"tmpfs", 0'],
  mount_setattr: [442, 442, '-100, "/", 0, 0, 0'],
  move_mount: [429, 429, '-100, "/proc", -100, "/tmp", 0'],
  // Files by handle, which names them on all of a filesystem.
  open_by_handle_at: [304, 265, '-100, "x" x 64, 0'],
  // Keys are not kept apart by namespaces.
  add_key: [248, 217, '"user", "drydock", "x", 1, -3'],
  request_key: [249, 218, '"user", "drydock", 0, 0'],
  keyctl: [250, 219, '0, -3, 0'],
  // Programs in the kernel, and its large surfaces.
  bpf: [321, 280, '0, 0, 0'],
  perf_event_open: [298, 241, '0, 0, -1, -1, 0'],
  userfaultfd: [323, 282, '0'],
  io_uring_setup: [425, 425, '8, "\\0" x 120'],
  kcmp: [312, 272, '1, 1, 0, 0, 0'],
  // The machine as a whole.
  kexec_load: [246, 104, '0, 0, 0, 0'],
  init_module: [175, 105, '0, 0, ""'],
  delete_module: [176, 106, '"x", 0'],
  reboot: [169, 142, '0xfee1dead, 672274793, 0, 0'],
  swapon: [167, 224, '"/x", 0'],
  settimeofday: [164, 170, '"\\0" x 16, 0'],
  sethostname: [170, 161, '"x", 1'],
  acct: [163, 89, '"/acct"'],
  syslog: [103, 116, '2, "\\0" x 64, 64'],
  'quotactl of the disk': [179, 60, '0, 0, 0, 0'],
  'socket to the hypervisor': [41, 198, '40, 1, 0'],
  'socket of the ciphers in the kernel': [41, 198, '38, 5, 0'],
};

const ofMachine = process.arch === 'arm64' ? 1 : 0;

/** Perl that makes the call and prints what came of it: EPERM (1) and ENOSYS (38) are refusals. */
const attempt = (name: string, number: number, args = '0, 0, 0, 0') =>
  `$! = 0; @a = (${args}); $r = syscall(${number}, @a); print "${name}: ", $r < 0 ? "refused " . ($! + 0) : "done", "\\n";`;

describe.each([
  ['root', ''],
  ['another user', '1234'],
])('as %s', (_, user) => {
  test('no call that reaches beyond the container succeeds', async () => {
    const list = Object.entries(calls);
    const program = list.map(([name, numbers]) => attempt(name, numbers[ofMachine], numbers[2])).join('\n');
    const { out, err } = await perl(program, { user });
    const found = out.trim().split('\n');
    expect(err).toBe('');
    expect(found).toEqual(
      list.map(([name]) => expect.stringMatching(new RegExp(`^${escaped(name)}: refused (1|38)$`))),
    );
  });

  test('nor by a new process with a namespace of its own, by either call', async () => {
    const clone = ofMachine === 1 ? 220 : 56;
    const flags = [0x10000000, 0x20000, 0x20000000, 0x40000000, 0x08000000, 0x04000000, 0x02000000];
    const clones = flags.map((flag) => attempt(`clone ${flag}`, clone, `${flag} | 17, 0, 0, 0, 0`));
    const clone3 = attempt('clone3', 435, 'pack("Q8", 0x10000000, 0, 0, 0, 17, 0, 0, 0), 64');
    const { out } = await perl([...clones, clone3].join('\n'), { user });
    for (const line of out.trim().split('\n')) expect(line).toMatch(/: refused (1|38)$/);
    expect(out.trim().split('\n')).toHaveLength(flags.length + 1);
  });
});

test.runIf(process.arch === 'x64')('nor by the numbers of the x32 machine type', async () => {
  const x32 = 0x40000000;
  const names = ['mount', 'keyctl', 'unshare of a user namespace', 'bpf', 'open_by_handle_at'];
  const program = names
    .map((name) => attempt(name, x32 + (calls[name]?.[0] ?? 0), calls[name]?.[2]))
    .join('\n');
  const { out } = await perl(program);
  expect(
    out
      .trim()
      .split('\n')
      .every((line) => /: refused (1|38)$/.test(line)),
  ).toBe(true);
});

test('a device that a step makes cannot be opened, whatever its number', async () => {
  const disk = '(mknod /disk b 254 0 || mknod /disk b 8 0) && head -c 1 /disk';
  const memory = 'mknod /mem c 1 1 && head -c 1 /mem';
  const port = 'mknod /port c 1 4 && head -c 1 /port';
  const kmsg = 'mknod /kmsg c 1 11 && head -c 1 /kmsg';
  for (const script of [disk, memory, port, kmsg]) {
    const { exitCode, out, err } = await h.run(script);
    expect([exitCode === 0, out]).toEqual([false, '']);
    expect(err).toMatch(/not permitted|Permission denied/);
  }
});

test('a step sees and traces no process but its own', async () => {
  const victim = spawn('sleep', ['600']);
  try {
    const ptrace = ofMachine === 1 ? 117 : 101;
    const PTRACE_ATTACH = 16;
    const seen = await h.run('ls /proc | grep -c "^[0-9]"');
    expect(Number(seen.out)).toBeLessThan(6);
    const { out } = await perl(
      [
        attempt('ptrace', ptrace, `${PTRACE_ATTACH}, ${victim.pid}, 0, 0`),
        attempt('kill', ofMachine === 1 ? 129 : 62, `${victim.pid}, 9`),
        attempt(
          'process_vm_readv',
          ofMachine === 1 ? 270 : 310,
          `${victim.pid}, pack("pQ", "\\0" x 16, 16), 1, pack("QQ", 0x400000, 16), 1, 0`,
        ),
        attempt('pidfd_open', 434, `${victim.pid}, 0`),
      ].join('\n'),
    );
    for (const line of out.trim().split('\n')) expect(line).toMatch(/refused (1|3|38)$/);
    expect(victim.exitCode ?? victim.signalCode).toBeNull();
  } finally {
    victim.kill('SIGKILL');
  }
});

function escaped(text: string): string {
  return text.replace(/[()]/g, '\\$&');
}
