/** Checks this machine's means of running steps, and knows the remedies. `drydock doctor` prints the checks. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errnoCode, toDrydockError } from '../errors/index.ts';
import { inUserNamespace } from '../linux/index.ts';
import type { Network } from '../network/index.ts';
import { detectCgroups } from './cgroups.ts';
import { createExecutor } from './executor.ts';
import { isProcGuarded, withoutProcHint } from './failure.ts';

export interface Check {
  ok: boolean;
  name: string;
  /** The finding, one phrase. */
  found: string;
  /** The remedy when it is not ok; '' when it is. */
  remedy: string;
}

const run = promisify(execFile);

/**
 * Checks the runtime, the namespace tools, the kernel, overlayfs, cgroups and, if given, the network. `tries`: a container
 * is run to find out which runtime steps will have. Never throws.
 */
export async function probeExecutor(
  options: { runtime?: string; tries?: boolean; network?: Network } = {},
): Promise<Check[]> {
  return [
    ...(await runtimes(options)),
    await program('unshare', 'unshare', 'Install it (Debian: apt-get install util-linux).'),
    await program('setpriv', 'setpriv', 'Install it (Debian: apt-get install util-linux).'),
    await program('nsenter', 'nsenter', 'Install it (Debian: apt-get install util-linux).'),
    kernel(release()),
    overlayfs(),
    cgroups(),
    ...(inUserNamespace() ? [processSandbox()] : []),
    ...(options.network === undefined ? [] : [await networkOf(options.network)]),
  ];
}

/** The runtime that steps have, and crun where it is there and is not used. */
async function runtimes({ runtime, tries }: { runtime?: string; tries?: boolean }): Promise<Check[]> {
  const { command, why } = tries === true ? await chosen(runtime) : { command: runtime ?? 'runc' };
  const name = command.endsWith('crun') ? 'crun' : 'runc';
  const check = await program(command, name, `Install it (Debian: apt-get install ${name}).`);
  if (why === undefined) return [check];
  const found = `installed, and runc is used in its stead: ${why}`;
  return [check, { ok: true, name: 'crun', found, remedy: '' }];
}

/** The runtime that an executor would use here. */
async function chosen(runtime: string | undefined): Promise<{ command: string; why?: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-doctor-'));
  const executor = createExecutor({ runDir: dir, stateDir: join(dir, 'state'), runtime });
  try {
    return await executor.runtime();
  } catch {
    return { command: runtime ?? 'runc' };
  } finally {
    executor.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Says how steps are connected, which is found out by connecting one. */
async function networkOf(network: Network): Promise<Check> {
  const name = 'network';
  try {
    const { kind, subnets, shortfall } = await network.look();
    if (shortfall !== undefined) {
      return { ok: false, name, found: shortfall.message, remedy: shortfall.hint };
    }
    const found = {
      host: "steps share the host's network (network-mode=host)",
      none: 'steps have none (network-mode=none)',
    };
    const of = subnets.length > 0 ? `, ${subnets.join(' and ')}` : '';
    const own = `each step has its own (${kind}${of})`;
    return { ok: true, name, found: kind === 'host' || kind === 'none' ? found[kind] : own, remedy: '' };
  } catch (err) {
    const { message, hint } = toDrydockError(err, 'exec');
    return { ok: false, name, found: message, remedy: hint ?? '' };
  }
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

function processSandbox(): Check {
  const ok = !isProcGuarded();
  return {
    ok,
    name: 'process sandbox',
    found: ok
      ? 'steps have a /proc of their own'
      : 'parts of /proc are hidden: steps can have none of their own',
    remedy: ok ? '' : withoutProcHint,
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
