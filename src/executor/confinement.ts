/** What confines steps besides namespaces and capabilities: a seccomp filter, an AppArmor profile, SELinux labels. */

import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { errnoCode, fail } from '../errors/index.ts';
import { readText } from '../linux/index.ts';

import { seccompProfile } from './seccomp.ts';
import { readSeccompProfile } from './seccomp-file.ts';
import { containerLabels, type SelinuxLabels } from './selinux.ts';

export interface ConfinementOptions {
  /** The name of a loaded AppArmor profile. */
  apparmorProfile?: string;
  /** Gives each step SELinux labels of its own. */
  selinux?: boolean;
  /**
   * A seccomp profile in docker's format, as a file; `unconfined` for no filter; `strict` for Drydock's own list;
   * default: `builtin`, which is that list with all sockets for steps of linux/386.
   */
  seccompProfile?: string;
}

interface ConfinedStep {
  security: 'sandbox' | 'insecure';
  capabilities: readonly string[];
  /** The machine type of its platform (`386`); undefined: this machine's. */
  machine?: string;
}

/** What confines one step. */
export interface Confinement {
  /** The member `linux.seccomp` of the runtime spec. */
  seccomp: object | undefined;
  apparmorProfile: string | undefined;
  labels: SelinuxLabels | undefined;
}

/**
 * Makes the confinement of steps by what this machine has. Throws `unsupported` for a means that the kernel does not
 * have, `not-found` and `invalid` for a seccomp profile that cannot be read. The result gives a step its own, by its
 * security mode and capabilities: an insecure step has none of it, as in BuildKit.
 */
export function confinementFor(options: ConfinementOptions): (step: ConfinedStep) => Confinement {
  const { apparmorProfile, selinux } = options;
  if (apparmorProfile !== undefined && !hasAppArmor()) {
    throw fail(
      'unsupported',
      'exec',
      `AppArmor is not supported on this host, but the profile '${apparmorProfile}' was specified`,
      { hint: 'Leave apparmor-profile out, or boot a kernel with AppArmor.' },
    );
  }
  if (selinux === true && !hasSelinux()) {
    throw fail('unsupported', 'exec', 'selinux is not available', {
      hint: 'Leave selinux out, or boot a kernel with SELinux switched on.',
    });
  }
  const filter = seccompOf(options.seccompProfile ?? 'builtin');
  return ({ security, capabilities, machine }) => {
    const labels = selinux === true ? containerLabels(security) : undefined;
    if (security === 'insecure') return { seccomp: undefined, apparmorProfile: undefined, labels };
    return { seccomp: filter(capabilities, machine), apparmorProfile, labels };
  };
}

/** Finds the filter for a step with some capabilities, of a machine type. */
function seccompOf(
  profile: string,
): (capabilities: readonly string[], machine: string | undefined) => object | undefined {
  const isSupported = /^Seccomp:/m.test(readText('/proc/self/status'));
  if (profile === 'unconfined') return () => undefined;
  if (profile === 'builtin' || profile === 'strict') {
    const own = (anySocket: boolean) => (isSupported ? seccompProfile(process.arch, anySocket) : undefined);
    const [usual, of386] = [own(false), profile === 'strict' ? own(false) : own(true)];
    return (_, machine) => (machine === '386' ? of386 : usual);
  }
  if (!isSupported) {
    throw fail(
      'unsupported',
      'exec',
      `this kernel has no seccomp, but the profile ${profile} was specified`,
      {
        hint: 'Leave seccomp-profile out.',
      },
    );
  }
  const read = readSeccompProfile(textOf(profile), profile);
  const known = new Map<string, object | undefined>();
  return (capabilities) => {
    const key = capabilities.join();
    if (!known.has(key)) known.set(key, read({ arch: process.arch, kernel: release(), capabilities }));
    return known.get(key);
  };
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const missing = errnoCode(cause) === 'ENOENT';
    throw fail(missing ? 'not-found' : 'denied', 'exec', `the seccomp profile ${file} cannot be read`, {
      cause,
      hint: missing ? 'There is no such file.' : undefined,
    });
  }
}

/** Whether the kernel has AppArmor switched on, and this process is not in a container that it does not confine. */
function hasAppArmor(): boolean {
  return (
    existsSync('/sys/kernel/security/apparmor') &&
    readText('/sys/module/apparmor/parameters/enabled').startsWith('Y')
  );
}

function hasSelinux(): boolean {
  return existsSync('/sys/fs/selinux/enforce');
}
