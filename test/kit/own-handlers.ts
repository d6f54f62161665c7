/**
 * A user namespace with a list of emulators of its own, so that tests may register some: the machine's list stays as it
 * is, and the namespace's goes with it. Linux 6.7.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cli, type Output, outputOf } from './cli.ts';

const command = join(import.meta.dirname, '../../bin/drydock');

/** A program for arm64 with all applets, which `scripts/setup.sh test` fetches. */
export const foreignBusybox = '/usr/local/lib/drydock-test/busybox-arm64';

/** Whether the kernel has lists of emulators for user namespaces. */
export function hasOwnHandlers(): boolean {
  const line = 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc';
  try {
    execFileSync('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', line], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Made by `open`; its processes see the users as outside, and are root of the namespace. */
export class OwnHandlers {
  readonly #holder: ChildProcess;
  readonly #cli: Cli;

  private constructor(holder: ChildProcess, cli: Cli) {
    this.#holder = holder;
    this.#cli = cli;
  }

  static async open(cli: Cli): Promise<OwnHandlers> {
    // It ends with its input, and that with this process.
    const holder = spawn('unshare', ['--user', '--mount', 'sh', '-c', 'echo made; cat']);
    await once(holder.stdout, 'data');
    for (const file of ['uid_map', 'gid_map']) writeFileSync(`/proc/${holder.pid}/${file}`, '0 0 65536\n');
    return new OwnHandlers(holder, cli);
  }

  /** Runs a program in the namespace. */
  run(argv: readonly string[], env: Record<string, string> = {}): Promise<Output> {
    const into = ['--target', String(this.#holder.pid), '--user', '--mount', '--'];
    return outputOf(spawn('nsenter', [...into, ...argv], { env: this.#cli.environment(env) }));
  }

  drydock(args: readonly string[], env: Record<string, string> = {}): Promise<Output> {
    return this.run([command, ...args], env);
  }

  /** What a command says that must succeed. */
  async ok(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.drydock(args);
    if (code !== 0) throw new Error(`drydock ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
    return stdout;
  }

  close(): void {
    this.#holder.stdin?.end();
  }
}
