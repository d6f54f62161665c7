/** A user of this machine who is not root, without sudo, for tests of what such a user can do. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Output, RunOptions } from './cli.ts';

const clone = join(import.meta.dirname, '../..');

interface UserOptions extends RunOptions {
  /** A line that root's shell runs before, in a mount namespace that this program alone has. */
  before?: string;
}

let users = 0;

/** Made by `new`, with a home and, unless told otherwise, ranges in /etc/subuid and /etc/subgid; removed by `close`. */
export class OrdinaryUser {
  readonly name = `drydock-test-${process.pid}-${++users}`;
  /** Holds everything of the test, and is the user's home. */
  readonly home = mkdtempSync(join(tmpdir(), 'drydock-user-'));
  /** A copy of this clone's command that the user may read. */
  readonly command: string;
  /** The root that the user's commands have by default. */
  readonly root = join(this.home, '.local/share/drydock');
  readonly uid: number;
  readonly gid: number;

  constructor(options: { ranges?: boolean } = {}) {
    // Makes the bundle again when a source is newer.
    execFileSync(join(clone, 'drydock'), ['version'], { stdio: ['ignore', 'ignore', 'inherit'] });
    const none = options.ranges === false ? ['-K', 'SUB_UID_COUNT=0', '-K', 'SUB_GID_COUNT=0'] : [];
    execFileSync('useradd', [...none, '-d', this.home, '-s', '/bin/sh', this.name]);
    const number = (flag: string) => Number(execFileSync('id', [flag, this.name], { encoding: 'utf8' }));
    [this.uid, this.gid] = [number('-u'), number('-g')];
    execFileSync('chown', [`${this.uid}:${this.gid}`, this.home]);
    // As udev makes it; not every machine has one.
    for (const device of ['/dev/net/tun', '/dev/fuse']) if (existsSync(device)) chmodSync(device, 0o666);
    this.command = join(this.#mayUse(clone) ? clone : this.#copyOfCommand(), 'bin/drydock');
  }

  /** Whether the clone is open to the user, who otherwise gets a copy. */
  #mayUse(dir: string): boolean {
    const node = join(dir, 'node_modules', `node-linux-${process.arch}`, 'bin/node');
    const ids = ['--reuid', String(this.uid), '--regid', String(this.gid), '--clear-groups'];
    const { status } = spawnSync('/usr/bin/setpriv', [
      ...ids,
      'sh',
      '-c',
      'test -x "$0" && test -r "$1"',
      node,
      join(dir, 'dist'),
    ]);
    return status === 0;
  }

  /** What a package holds, and its dependencies that are not in the bundle. */
  #copyOfCommand(): string {
    const at = mkdtempSync(join(tmpdir(), 'drydock-package-'));
    execFileSync('chmod', ['755', at]);
    cpSync(join(clone, 'bin'), join(at, 'bin'), { recursive: true });
    cpSync(join(clone, 'dist'), join(at, 'dist'), { recursive: true, verbatimSymlinks: true });
    for (const name of readdirSync(join(clone, 'node_modules'))) {
      if (!/^(koffi|node-linux-.*|@koromix)$/.test(name)) continue;
      const to = join(at, 'node_modules', name);
      mkdirSync(dirname(to), { recursive: true });
      execFileSync('cp', ['-aL', '--reflink=auto', join(clone, 'node_modules', name), to]);
    }
    return at;
  }

  /** Writes files below a folder of the user's and returns the folder; all is the user's. */
  files(name: string, files: Record<string, string | Buffer>): string {
    const dir = join(this.home, name);
    for (const [path, data] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), data);
    }
    execFileSync('chown', ['-R', `${this.uid}:${this.gid}`, join(this.home, name.split('/')[0] as string)]);
    return dir;
  }

  /** Runs a shell's command line as the user, as after a login. */
  sh(line: string, options: UserOptions = {}): Promise<Output> {
    return this.run(['sh', '-c', line], options);
  }

  /** Runs a program as the user. */
  async run(argv: readonly string[], options: UserOptions = {}): Promise<Output> {
    const { input } = options;
    const child = this.start(argv, options);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin.on('error', () => {});
    child.stdin.end(typeof input === 'string' || Buffer.isBuffer(input) ? input : undefined);
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    return {
      code: code ?? (signal === 'SIGKILL' ? 137 : 143),
      stdout: Buffer.concat(out).toString(),
      stderr: Buffer.concat(err).toString(),
    };
  }

  /** Starts a program as the user, in a process that keeps its pid. */
  start(argv: readonly string[], { env, cwd, before }: UserOptions = {}) {
    const ids = ['--reuid', String(this.uid), '--regid', String(this.gid), '--clear-groups'];
    const command = ['/usr/bin/setpriv', ...ids, '--', ...argv];
    const within = ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', `${before}; exec "$@"`, 'sh'];
    const [program = '', ...args] = before === undefined ? command : [...within, ...command];
    return spawn(program, args, {
      cwd: cwd ?? this.home,
      env: {
        PATH: '/usr/local/bin:/usr/bin:/bin',
        HOME: this.home,
        USER: this.name,
        DRYDOCK_DEBUG: '1',
        ...env,
      },
    });
  }

  drydock(args: readonly string[], options: UserOptions = {}): Promise<Output> {
    return this.run([this.command, ...args], options);
  }

  /** Runs a command that must succeed; returns its stdout. */
  async ok(args: readonly string[], options: UserOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.drydock(args, options);
    if (code !== 0) throw new Error(`drydock ${args.join(' ')} ended with ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** The processes of the user and of the users of their ranges that have not ended. */
  processes(): string[] {
    const from = Number(
      readFileSync('/etc/subuid', 'utf8')
        .split('\n')
        .find((line) => line.startsWith(`${this.name}:`))
        ?.split(':')[1] ?? Number.NaN,
    );
    return readdirSync('/proc').flatMap((pid) => {
      if (!/^\d+$/.test(pid)) return [];
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        const uid = Number(/^Uid:\s*(\d+)/m.exec(status)?.[1]);
        if (/^State:\s*Z/m.test(status)) return [];
        if (uid !== this.uid && !(uid >= from && uid < from + 65_536)) return [];
        return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`];
      } catch {
        return [];
      }
    });
  }

  close(): void {
    for (const line of this.processes()) process.kill(Number(line.split(' ')[0]), 'SIGKILL');
    execFileSync('userdel', ['-f', this.name], { stdio: 'ignore' });
    rmSync(this.home, { recursive: true, force: true });
    const copy = dirname(dirname(this.command));
    if (copy !== clone) rmSync(copy, { recursive: true, force: true });
  }
}
