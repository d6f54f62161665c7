/** Starts a program with real pipes and waits for its end. (Steps open /dev/stdout, which a socket does not allow.) */
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode, fail } from '../errors/index.ts';
import { type Child, pipe, readText, startProgram } from '../linux/index.ts';
import { endOf, endProcesses, endWithFirst, killTree } from './process-sandbox.ts';
import { findProgram, searchPath } from './runtime.ts';
import { pipes, type Stdio, terminal } from './stdio.ts';
import type { ExecIo } from './types.ts';

/** A started runtime, with the container's processes below it. */
export interface RuntimeProcess {
  /** Resolves with the exit code (128+n for signal n) once the process and its output have ended. */
  ended: Promise<number>;
  /** Kills the first process of the pid namespace; all others die with it. */
  kill(): void;
  /**
   * The pid of the first process of the pid namespace, which is the runtime; undefined before it is there and after its
   * end.
   */
  first(): number | undefined;
  /** Sends the runtime a signal, which the runtime hands on to the step. */
  signal(name: NodeJS.Signals): void;
  resize(rows: number, cols: number): void;
}

/** Runs a command. `data` goes to its file descriptor 3. Throws `unavailable` when it cannot be started. */
export function start(
  command: readonly string[],
  io: ExecIo,
  { data, hostPids }: { data?: Buffer; hostPids?: HostPids } = {},
): RuntimeProcess {
  const stdio = io.terminal ? terminal() : pipes(io.stdin !== undefined);
  const { child, channel } = spawnOn(stdio, command, data !== undefined);
  if (channel !== undefined && data !== undefined) {
    const socket = new Socket({ fd: channel, readable: false, writable: true });
    socket.on('error', () => {});
    socket.end(data);
  }
  return processOf(child, stdio, io, hostPids);
}

/**
 * Starts a program on the child's ends of an input and output, which are closed here. With `hasChannel` it has a pipe to
 * read from as its file descriptor 3, and `channel` is the other end. Throws `unavailable` when it cannot be started, and
 * leaves nothing open then.
 */
export function spawnOn(
  stdio: Stdio,
  command: readonly string[],
  hasChannel: boolean,
): { child: Child; channel: number | undefined } {
  const [program = ''] = command;
  // A real pipe, too: the runtime opens it by its name.
  const extra = hasChannel ? pipe() : undefined;
  try {
    const child = startProgram(pathOf(program), command, {
      env: { PATH: searchPath, LC_ALL: 'C' },
      fds: [...stdio.child, ...(extra === undefined ? [] : [extra[0]])],
    });
    return { child, channel: extra?.[1] };
  } catch (cause) {
    if (extra !== undefined) closeSync(extra[1]);
    stdio.drop();
    throw fail('unavailable', 'exec', `cannot start ${program}: ${(cause as Error).message}`, {
      cause,
      hint:
        errnoCode(cause) === 'ENOENT'
          ? 'Install util-linux (Debian: apt-get install util-linux).'
          : undefined,
    });
  } finally {
    stdio.closeChild();
    if (extra !== undefined) closeSync(extra[0]);
  }
}

/** Where programs were found. */
const paths = new Map<string, string>();

/** The path of a program; its name where there is none, which then tells that it cannot be started. */
function pathOf(program: string): string {
  const known = paths.get(program) ?? findProgram(program);
  if (known !== undefined) paths.set(program, known);
  return known ?? program;
}

/** A runtime without a pid namespace of its own. */
interface HostPids {
  /** The bundle of the container that ends with the runtime; undefined: the container goes on. */
  bundle?: string;
}

/** A program that was started, as the runtime of a container. */
export function processOf(child: Child, stdio: Stdio, io: ExecIo, hostPids?: HostPids): RuntimeProcess {
  const outputs = stdio.connect(io);
  let killed = false;
  let doomed: number | undefined;
  if (hostPids?.bundle !== undefined) {
    const pidFile = join(hostPids.bundle, 'init.pid');
    void endWithFirst(hostPids.bundle, { pidFile, runtime: child.pid, isOver: () => child.isOver });
  }
  const ended = child.ended.then(async (code) => {
    if (hostPids?.bundle !== undefined) await endProcesses(hostPids.bundle);
    if (doomed !== undefined) await endOf(doomed);
    // All writers are gone with the pid namespace; the bound is for a kernel that lags.
    await Promise.race([outputs, sleep(5000, undefined, { ref: false })]);
    stdio.close();
    return killed ? 128 + 9 : code;
  });
  ended.catch(() => stdio.close());
  const first = () => {
    if (child.isOver) return undefined;
    return hostPids === undefined ? firstOf(child.pid) : child.pid;
  };
  const signal = (name: NodeJS.Signals) => {
    const pid = first();
    if (pid === undefined) return;
    if (name === 'SIGKILL' && hostPids !== undefined) {
      killed = true;
      killTree(pid);
    } else if (name === 'SIGKILL') killed = end(pid);
    else tryKill(pid, name);
  };
  // unshare (util-linux 2.38) has an error message for a child that was killed, which would be in the step's output. So
  // it ends before its child, and does not wait for the namespace's end, which is waited for here.
  const end = (pid: number) => {
    const isRunning = tryKill(pid, 0);
    if (isRunning) {
      doomed = pid;
      child.kill('SIGKILL');
      tryKill(pid, 'SIGKILL');
    }
    return isRunning;
  };
  return {
    ended,
    first,
    signal,
    kill() {
      const pid = first();
      if (hostPids !== undefined && pid !== undefined) return killTree(pid);
      if (pid !== undefined && end(pid)) return;
      child.kill('SIGKILL');
    },
    resize(rows, cols) {
      // The runtime reads its terminal's size when it is told that it changed.
      if (stdio.resize(rows, cols)) signal('SIGWINCH');
    },
  };
}

function tryKill(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false; // it ended meanwhile
  }
}

/**
 * The pid of the namespace's first process. The child that was started waits for it, its own child, until the whole
 * namespace has ended.
 */
function firstOf(pid: number): number | undefined {
  const first = Number(readText(`/proc/${pid}/task/${pid}/children`).trim().split(' ')[0]);
  return first > 1 ? first : undefined;
}
