/** Checks this machine's means of running steps, and knows the remedies. `drydock doctor` prints the checks. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { promisify } from 'node:util';
import { errnoCode } from '../errors/index.ts';
import { inUserNamespace } from '../linux/index.ts';
import { detectCgroups } from './cgroups.ts';

export interface Check {
  ok: boolean;
  name: string;
  /** The finding, one phrase. */
  found: string;
  /** The remedy when it is not ok; '' when it is. */
  remedy: string;
}

const run = promisify(execFile);

/** Checks runc, the namespace tools, the kernel, overlayfs, cgroups and the network. Never throws. */
export async function probeExecutor(options: { runc?: string } = {}): Promise<Check[]> {
  return [
    await program(options.runc ?? 'runc', 'runc', 'Install it (Debian: apt-get install runc).'),
    await program('unshare', 'unshare', 'Install it (Debian: apt-get install util-linux).'),
    await program('setpriv', 'setpriv', 'Install it (Debian: apt-get install util-linux).'),
    await program('nsenter', 'nsenter', 'Install it (Debian: apt-get install util-linux).'),
    kernel(release()),
    overlayfs(),
    cgroups(),
    {
      ok: true,
      name: 'network',
      found: 'steps share the host network unless they ask for none',
      remedy: '',
    },
  ];
}

async function program(command: string, name: string, remedy: string): Promise<Check> {
  try {
    const { stdout } = await run(command, ['--version'], { timeout: 5000 });
    return { ok: true, name, found: stdout.split('\n')[0] ?? '', remedy: '' };
  } catch (err) {
    const missing = errnoCode(err) === 'ENOENT';
    return { ok: false, name, found: missing ? 'not installed' : `does not run: ${err}`, remedy };
  }
}

/** Checks the kernel's version: mounts by file descriptor came with 5.12. */
export function kernel(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const ok = major > 5 || (major === 5 && minor >= 12);
  return {
    ok,
    name: 'kernel',
    found: version,
    remedy: ok ? '' : 'Steps need Linux 5.12 or later: boot a newer kernel.',
  };
}

function overlayfs(): Check {
  const known = /^nodev\s+overlay$/m.test(read('/proc/filesystems'));
  return {
    ok: known,
    name: 'overlayfs',
    found: known ? 'the kernel has it' : 'not loaded',
    remedy: known ? '' : 'Load it with `modprobe overlay`; without it, snapshots are plain copies (slower).',
  };
}

function cgroups(): Check {
  const host = detectCgroups();
  const ok = host.kind !== 'none';
  if (!ok && inUserNamespace()) {
    const found = 'none are delegated to this user: limits are not applied (docs/rootless.md)';
    return { ok: true, name: 'cgroups', found, remedy: '' };
  }
  return {
    ok,
    name: 'cgroups',
    found: ok ? `${host.kind}: ${[...host.controllers].sort().join(' ')}` : (host.reason ?? 'none'),
    remedy: ok ? '' : 'Mount cgroups writable; without them limits are not applied.',
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
