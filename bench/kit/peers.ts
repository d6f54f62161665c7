/**
 * The programs of others that we are measured beside. Each is found by a variable with its path (`DOCKERD`, `BUILDAH`,
 * `BUILDKITD`, `BUILDCTL`), else in the Debian root that `BENCH_PEERS` names, else in PATH. A root's programs run in it
 * by chroot, with the bench's folder at the same path there as here.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from '../bench.ts';
import { findProgram } from './find-program.ts';

const root = process.env.BENCH_PEERS;

/** The beginning of a command line that runs a program of another; undefined when it is not there. */
export function peer(bench: Bench, variable: string, name: string): string[] | undefined {
  const given = process.env[variable];
  if ((given === undefined || given === '') && root !== undefined) {
    const there = ['usr/bin', 'usr/sbin', 'bin', 'sbin'].some((dir) => existsSync(join(root, dir, name)));
    if (there) {
      share(bench, root);
      return ['chroot', root, 'env', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', name];
    }
  }
  const path = findProgram(variable, name);
  return path === undefined ? undefined : [path];
}

/** What a peer says of its version, in one line. */
export function versionOf(command: readonly string[]): string {
  const [file = '', ...args] = [...command, '--version'];
  return execFileSync(file, args, { encoding: 'utf8' }).trim().split('\n')[0] ?? '';
}

const mounted: string[] = [];
// However the bench ends: a mount that stays would hide what is mounted there next.
process.on('exit', unmountAll);

/** Unmounts what was mounted, with what the peers (buildah) have left there. */
function unmountAll(): void {
  for (const path of mounted.splice(0).reverse()) {
    try {
      execFileSync('umount', ['-R', '-l', path]);
    } catch {
      // It is gone already.
    }
  }
}

/** Mounts the bench's folder, and the kernel's, in a root of peers. */
function share(bench: Bench, into: string): void {
  const at = join(into, bench.folder);
  if (mounted.includes(at)) return;
  bench.atEnd(unmountAll);
  mkdirSync(at, { recursive: true });
  const kernel = ['proc', 'sys', 'dev'].filter((dir) => !isMountPoint(join(into, dir)));
  const mount = (path: string, ...args: string[]) => {
    execFileSync('mount', [...args, path]);
    mounted.push(path);
  };
  // dockerd and containerd look for the mount that their folders are on.
  if (!isMountPoint(into)) mount(into, '--bind', into);
  for (const dir of kernel) mount(join(into, dir), '--rbind', '--make-rslave', `/${dir}`);
  mount(at, '--bind', bench.folder);
}

function isMountPoint(path: string): boolean {
  try {
    execFileSync('mountpoint', ['-q', path]);
    return true;
  } catch {
    return false;
  }
}
