/** Tells the kernel which of QEMU's programs start other machines' programs, and takes it back. */
import { closeSync, existsSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DrydockError, errnoCode, fail } from '../errors/index.ts';
import { mount, rootlessUser } from '../linux/index.ts';
import { isStatic, markMask, markOf } from './elf.ts';
import type { Support } from './emulation.ts';
import { binfmtFolder, isMounted } from './handlers.ts';
import { type Machine, machines } from './machines.ts';

/** What was done about a processor. */
interface Registered {
  machine: Machine;
  /** `none`: no program of QEMU's for it is installed. */
  done: 'registered' | 'there' | 'none';
  /** The program that starts its programs, if there is one. */
  interpreter?: string;
}

/**
 * Where QEMU's programs for users are, in order. The first one is Debian's link to the second, by whose name QEMU knows
 * that it is told a program's own name as well (flag P).
 */
const places: [path: (name: string) => string, flags: string][] = [
  [(name) => `/usr/libexec/qemu-binfmt/${name}-binfmt-P`, 'POCF'],
  [(name) => `/usr/bin/qemu-${name}-static`, 'OCF'],
  [(name) => `/usr/local/bin/qemu-${name}-static`, 'OCF'],
  [(name) => `/usr/bin/qemu-${name}`, 'OCF'],
  [(name) => `/usr/local/bin/qemu-${name}`, 'OCF'],
];

/** QEMU's program for a processor that runs in any root; undefined when none is installed. */
function findQemu({ qemu }: Machine): { interpreter: string; flags: string } | undefined {
  for (const [path, flags] of places) {
    const interpreter = path(qemu);
    if (existsSync(interpreter) && isStatic(beginningOf(interpreter))) return { interpreter, flags };
  }
  return undefined;
}

function beginningOf(path: string): Buffer {
  const head = Buffer.alloc(4096);
  const fd = openSync(path, 'r');
  try {
    return head.subarray(0, readSync(fd, head, 0, head.length, 0));
  } finally {
    closeSync(fd);
  }
}

/** The line that registers QEMU for a processor's programs. Pure. */
function registration(machine: Machine, { interpreter, flags }: ReturnType<typeof findQemu> & {}): string {
  const bytes = (data: Buffer) => data.toString('hex').replaceAll(/../g, '\\x$&');
  const fields = [handlerName(machine), 'M', '', bytes(markOf(machine)), bytes(markMask(machine))];
  return `:${fields.join(':')}:${interpreter}:${flags}`;
}

/** The name under which everybody registers QEMU for a processor. */
function handlerName({ qemu }: Machine): string {
  return `qemu-${qemu}`;
}

/**
 * Registers QEMU for the processors that have no handler that runs in every root. `support` is what there is now.
 * Mounts binfmt_misc when it is not. Throws `denied` for who may not, `unsupported` for a kernel that has no
 * binfmt_misc, `not-found` when no program of QEMU's is installed for any of them.
 */
export function register(support: readonly Support[]): Registered[] {
  mayRegister();
  const found = support.map(({ machine, runs, handler }) => ({
    machine,
    isThere: runs,
    handler,
    qemu: findQemu(machine),
  }));
  if (found.every(({ isThere, qemu }) => !isThere && qemu === undefined)) {
    throw fail('not-found', 'client', 'no emulator is installed', {
      hint: 'Install QEMU (Debian: apt-get install qemu-user-static).',
    });
  }
  mountFolder();
  return found.map(({ machine, isThere, handler, qemu }): Registered => {
    if (isThere) return { machine, done: 'there', interpreter: handler?.interpreter };
    if (qemu === undefined) return { machine, done: 'none' };
    const path = join(binfmtFolder, handlerName(machine));
    if (existsSync(path)) tell(path, '-1');
    tell(join(binfmtFolder, 'register'), registration(machine, qemu));
    return { machine, done: 'registered', interpreter: qemu.interpreter };
  });
}

/** Removes the handlers that are named as `register` names them, and returns the processors that had one. */
export function unregister(which: readonly Machine[]): Machine[] {
  mayRegister();
  return which.filter((machine) => {
    const path = join(binfmtFolder, handlerName(machine));
    if (!existsSync(path)) return false;
    tell(path, '-1');
    return true;
  });
}

/** The processors by the names that users have for them; all when there are no names. Throws `invalid`. */
export function machinesNamed(names: readonly string[]): Machine[] {
  if (names.length === 0) return [...machines];
  return names.map((name) => {
    const plain = name.replace(/^linux\//, '').replace(/^(arm)\/v[67]$/, '$1');
    const machine = machines.find(({ architecture, qemu }) => plain === architecture || plain === qemu);
    if (machine !== undefined) return machine;
    throw fail('invalid', 'client', `unknown processor ${JSON.stringify(name)}`, {
      hint: `Known are ${machines.map(({ architecture }) => architecture).join(', ')}.`,
    });
  });
}

function mayRegister(): void {
  if (rootlessUser() === undefined && process.geteuid?.() === 0) return;
  throw fail('denied', 'client', 'emulators are the whole machine’s: only root registers and removes them', {
    hint: 'Run it with sudo.',
  });
}

/** Mounts the kernel's folder of handlers where it belongs, as systemd does. */
function mountFolder(): void {
  if (isMounted()) return;
  try {
    mount('binfmt_misc', binfmtFolder, 'binfmt_misc', 0, '');
  } catch (err) {
    const code = errnoCode(err);
    if (code === 'ENODEV' || code === 'ENOENT') {
      throw fail('unsupported', 'client', 'this kernel has no binfmt_misc, which starts emulators', {
        hint: 'Load it with `modprobe binfmt_misc`, or boot a kernel that has it (CONFIG_BINFMT_MISC).',
        cause: err,
      });
    }
    throw refused('mount binfmt_misc', err);
  }
}

function tell(path: string, line: string): void {
  try {
    writeFileSync(path, line, 'latin1');
  } catch (err) {
    throw refused(`write to ${path}`, err);
  }
}

function refused(what: string, err: unknown): DrydockError {
  return fail('denied', 'client', `the kernel does not let this process ${what} (${errnoCode(err) ?? err})`, {
    hint: 'In a container: run the command on the machine itself, or in a container with --privileged.',
    cause: err,
  });
}
