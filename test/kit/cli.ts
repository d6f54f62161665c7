/** The real command, as a user runs it, on a root of its own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { unmountBelow } from '../../src/store/shared/run-folder.ts';
import { busyboxRoot } from './busybox.ts';

const clone = join(import.meta.dirname, '../..');

export interface Output {
  /** The exit code; a signal's number plus 128. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  input?: Buffer | string | Readable;
  env?: Record<string, string>;
  cwd?: string;
}

export class Cli {
  /** Holds everything of the test; removed by `close`. */
  readonly dir = mkdtempSync(join(tmpdir(), 'drydock-cli-'));
  readonly root = join(this.dir, 'root');
  readonly #children = new Set<ChildProcess>();

  constructor() {
    bundleOnce();
    mkdirSync(join(this.dir, 'docker-config'));
  }

  /** Writes files below a folder of the test's and returns the folder. Names that end in / are folders. */
  files(name: string, files: Record<string, string | Buffer>): string {
    const dir = join(this.dir, name);
    mkdirSync(dir, { recursive: true });
    for (const [path, data] of Object.entries(files)) {
      const at = join(dir, path);
      mkdirSync(path.endsWith('/') ? at : dirname(at), { recursive: true });
      if (!path.endsWith('/')) writeFileSync(at, data);
    }
    return dir;
  }

  /** Builds busybox, with /bin/sh, as the image `base`. */
  async makeBase(name = 'base'): Promise<void> {
    const dir = this.files(`${name}-files`, { Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin\n' });
    busyboxRoot(join(dir, 'root'));
    await this.ok(['build', '-q', '-t', name, dir]);
  }

  /** Copies a folder of the test's. */
  copy(from: string, name: string): string {
    cpSync(from, join(this.dir, name), { recursive: true });
    return join(this.dir, name);
  }

  environment(env: Record<string, string> = {}): NodeJS.ProcessEnv {
    const { NO_COLOR: _, BUILDKIT_PROGRESS: __, ...rest } = process.env;
    const own = { DRYDOCK_ROOT: this.root, DOCKER_CONFIG: join(this.dir, 'docker-config') };
    return { ...rest, ...own, ...env };
  }

  /** Starts a command; the process is the engine itself, not a shell in front of it. */
  start(args: readonly string[], { env, cwd }: RunOptions = {}): ChildProcess {
    const child = spawn(join(clone, 'bin/drydock'), args, {
      env: this.environment(env),
      cwd: cwd ?? this.dir,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /** Runs a command to its end, whatever that is. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<Output> {
    const child = this.start(args, options);
    const { input } = options;
    child.stdin?.on('error', () => {}); // it may end before it has read all
    if (typeof input === 'object' && 'pipe' in input) input.pipe(child.stdin as NodeJS.WritableStream);
    else child.stdin?.end(input);
    return outputOf(child);
  }

  /** Runs a command that must succeed. */
  async ok(args: readonly string[], options: RunOptions = {}): Promise<Output> {
    const output = await this.run(args, options);
    if (output.code !== 0) {
      throw new Error(
        `drydock ${args.join(' ')} ended with ${output.code}:\n${output.stdout}${output.stderr}`,
      );
    }
    return output;
  }

  /** The files of an image or of any build's result, written to a new folder. */
  async extract(context: string, args: readonly string[] = []): Promise<string> {
    const dest = mkdtempSync(join(this.dir, 'out-'));
    await this.ok(['build', '-q', ...args, '-o', `type=local,dest=${dest}`, context]);
    return dest;
  }

  /** An image's configuration. */
  async inspect<T = Record<string, unknown>>(name: string): Promise<T> {
    const { stdout } = await this.ok(['inspect', name]);
    return (JSON.parse(stdout) as T[])[0] as T;
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    unmountBelow(this.dir);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

let bundled = false;

/** Makes the bundle again when a source is newer: sources stay as they are while tests run. */
function bundleOnce(): void {
  if (bundled) return;
  execFileSync(join(clone, 'drydock'), ['version'], { stdio: ['ignore', 'ignore', 'inherit'] });
  bundled = true;
}

export async function outputOf(child: ChildProcess): Promise<Output> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) =>
      resolve({ code: code ?? 128 + (signal === 'SIGKILL' ? 9 : 15), stdout, stderr }),
    );
  });
}
