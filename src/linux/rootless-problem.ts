/** Why a user who is not root has no user namespace to build in, and what remedies it. */

import { readText } from './read-text.ts';

interface RootlessProblem {
  /** One phrase. */
  why: string;
  /** One or more full sentences. */
  remedy: string;
}

/** What is looked at besides the environment; tests give other files. */
interface Host {
  /** The text of a file; '' when it cannot be read. */
  read(path: string): string;
  uid: number;
}

const apparmor = 'kernel.apparmor_restrict_unprivileged_userns';

/**
 * The reason for which `bin/rootless` did not make a namespace for this process; undefined when there is one, or the
 * process is root. `state` is the variable DRYDOCK_ROOTLESS; without it the program was not started by its own command.
 */
export function rootlessProblem(
  state = process.env.DRYDOCK_ROOTLESS,
  host: Host = { read: readText, uid: process.getuid?.() ?? 0 },
): RootlessProblem | undefined {
  if (host.uid === 0) return undefined;
  if (state === 'refused') return refused(host);
  if (state === 'newuidmap') {
    return {
      why: 'newuidmap and newgidmap are not installed',
      remedy: 'Install them (Debian: apt-get install uidmap; Fedora: shadow-utils; Alpine: shadow-subids).',
    };
  }
  if (state === 'subuid') return withoutRange(host);
  if (state?.startsWith('maps ')) return refusedMaps(state.slice('maps '.length), host);
  return {
    why: 'this process is neither root nor in a user namespace of its own',
    remedy:
      'Start the program in one: `npx drydock unshare node build.mjs`. (The command `drydock build` does it by itself.)',
  };
}

/** The system forbids user namespaces, or mounts in them. */
function refused({ read }: Host): RootlessProblem {
  const setting = (name: string) => read(`/proc/sys/${name.replaceAll('.', '/')}`).trim();
  const keep = (line: string) => `To keep it: echo ${line} | sudo tee /etc/sysctl.d/60-drydock.conf`;
  const most = 'user.max_user_namespaces';
  if (setting(most) === '0') {
    return {
      why: `${most} is 0: this system allows no user namespaces`,
      remedy: `sudo sysctl ${most}=15000. ${keep(`${most}=15000`)}`,
    };
  }
  const clone = 'kernel.unprivileged_userns_clone';
  if (setting(clone) === '0') {
    return {
      why: `${clone} is 0: this system allows user namespaces to root alone`,
      remedy: `sudo sysctl ${clone}=1. ${keep(`${clone}=1`)}`,
    };
  }
  if (setting(apparmor) === '1') {
    return {
      why: `${apparmor} is 1: AppArmor lets programs without a profile do nothing in user namespaces`,
      remedy: `Install the profile packaging/apparmor/drydock of the package in /etc/apparmor.d and load it (sudo apparmor_parser -r /etc/apparmor.d/drydock), or: sudo sysctl ${apparmor}=0. ${keep(`${apparmor}=0`)}`,
    };
  }
  if (/^Seccomp:\s*2/m.test(read('/proc/self/status'))) {
    return {
      why: 'a seccomp filter, as containers have one, forbids user namespaces',
      remedy:
        'Start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined and --device /dev/fuse, or as Kubernetes names them (seccompProfile and appArmorProfile of type Unconfined).',
    };
  }
  if (read('/proc/self/uid_map') === '' || !read('/proc/self/status').includes('NSpid')) {
    return { why: 'this kernel has no user namespaces', remedy: 'Boot one with CONFIG_USER_NS.' };
  }
  return {
    why: 'the system forbids user namespaces, or mounts in them',
    remedy:
      '`unshare --user --mount true` says with which error; SELinux (user_namespace) or another module may do it.',
  };
}

function withoutRange({ read, uid }: Host): RootlessProblem {
  const name = new RegExp(`^([^:\n]+):[^:\n]*:${uid}:`, 'm').exec(read('/etc/passwd'))?.[1] ?? String(uid);
  const ends = ['/etc/subuid', '/etc/subgid']
    .flatMap((file) => read(file).split('\n'))
    .map((line) => line.split(':').slice(1).map(Number))
    .flatMap(([start = 0, count = 0]) => (Number.isFinite(start + count) ? [start + count] : []));
  const first = Math.max(100_000, ...ends);
  const range = `${first}-${first + 65_535}`;
  return {
    why: `${name} has no range of users in /etc/subuid and of groups in /etc/subgid`,
    remedy: `sudo usermod --add-subuids ${range} --add-subgids ${range} ${name}`,
  };
}

function refusedMaps(said: string, { read }: Host): RootlessProblem {
  const why = `the ranges in /etc/subuid and /etc/subgid were not mapped: ${said || 'newuidmap was ended'}`;
  if (/^NoNewPrivs:\s*1/m.test(read('/proc/self/status'))) {
    return {
      why,
      remedy:
        'This process may gain no privileges (no_new_privs), and newuidmap needs some: leave NoNewPrivileges= out of the unit, or --security-opt no-new-privileges of the container.',
    };
  }
  return {
    why,
    remedy:
      'newuidmap and newgidmap must be set-user-ID root, or have the file capabilities cap_setuid and cap_setgid, on a filesystem that is not mounted nosuid; ranges must not overlap (Debian: apt-get install --reinstall uidmap).',
  };
}
