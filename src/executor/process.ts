/** Starts a program with real pipes (steps open /dev/stdout, which a socket does not allow) and waits for its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode, fail } from '../errors/error.ts';
import { pipe } from '../linux/libc.ts';
import type { ExecIo } from './types.ts';

export interface Running {
  /** The exit code, 128+n for signal n, once the process and its output have ended. */
  ended: Promise<number>;
  /** Kills the first process of the pid namespace, and with it all others. */
  kill(): void;
}

const signals: Record<string, number> = {
  SIGKILL: 9,
  SIGTERM: 15,
  SIGINT: 2,
  SIGHUP: 1,
  SIGSEGV: 11,
  SIGABRT: 6,
};

/** Runs a command of `launchCommand`; `data` goes to its file descriptor 3. Throws `unavailable` when it cannot start. */
export function start(
  command: readonly string[],
  cwd: string,
  io: ExecIo,
  data: Buffer | undefined,
): Running {
  const [program = '', ...args] = command;
  const out = pipe();
  const err = pipe();
  const input = io.stdin === undefined ? undefined : pipe();
  const ours = (fd: number, onData: (chunk: Buffer) => void) => {
    const socket = new Socket({ fd, readable: true, writable: false });
    socket.on('data', onData);
    socket.on('error', () => {});
    return new Promise<void>((resolve) => socket.once('close', () => resolve()));
  };
  let child: ChildProcess;
  try {
    child = spawn(program, args, {
      cwd,
      env: { PATH: `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: 'C' },
      stdio: [input?.[0] ?? 'ignore', out[1], err[1], ...(data === undefined ? [] : ['pipe' as const])],
    });
  } finally {
    for (const fd of [out[1], err[1], input?.[0]]) if (fd !== undefined) closeSync(fd);
  }
  const outputs = Promise.all([ours(out[0], io.stdout), ours(err[0], io.stderr)]);
  if (input !== undefined && io.stdin !== undefined) {
    const sink = new Socket({ fd: input[1], readable: false, writable: true });
    // A step need not read all of its input.
    sink.on('error', () => io.stdin?.unpipe(sink));
    io.stdin.pipe(sink);
  }
  const channel = child.stdio[3] as Writable | undefined | null;
  channel?.on('error', () => {});
  channel?.end(data);
  const exit = new Promise<number>((resolve, reject) => {
    child.once('error', (cause) => {
      const missing = errnoCode(cause) === 'ENOENT';
      reject(
        fail('unavailable', 'exec', `cannot start ${program}: ${cause.message}`, {
          cause,
          hint: missing ? 'Install util-linux (Debian: apt-get install util-linux).' : undefined,
        }),
      );
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signals[signal ?? ''] ?? 0)));
  });
  const ended = exit.then(async (code) => {
    // All writers are gone with the pid namespace; the bound is for a kernel that lags.
    await Promise.race([outputs, sleep(5000, undefined, { ref: false })]);
    return code;
  });
  return { ended, kill: () => killFirst(child) };
}

function killFirst(child: ChildProcess): void {
  const { pid } = child;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  // unshare waits for its child, the first process of the namespace, until the whole namespace has ended.
  const first = Number(read(`/proc/${pid}/task/${pid}/children`).trim().split(' ')[0]);
  if (first > 1) {
    try {
      process.kill(first, 'SIGKILL');
      return;
    } catch {
      // It ended meanwhile.
    }
  }
  child.kill('SIGKILL');
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
