/** Processes that wait to become the runtimes of containers, so that the next container need not wait for its own. */
import { closeSync, fchownSync, writeSync } from 'node:fs';
import { errnoCode, fail } from '../errors/index.ts';
import type { Child } from '../linux/index.ts';
import { shellLine, waitingCommand } from './launch.ts';
import { processOf, type RuntimeProcess, spawnOn } from './process.ts';
import { pipes, type Stdio, terminal } from './stdio.ts';
import type { ExecIo } from './types.ts';

/** How long a process waits after the last step has ended, in ms. */
const patience = 300;

interface Owner {
  uid: number;
  gid: number;
}

interface LauncherOptions {
  /** Steps have no pid namespace of their own. */
  hostPids?: boolean;
  /** The user and group of this machine who are root in steps, and may therefore open /dev/stdout anew. */
  owner?: Owner;
  /** Whether another step will be run soon. */
  expectsMore?(): boolean;
}

interface Waiting {
  child: Child;
  channel: number;
  stdio: Stdio;
}

/**
 * Starts the runtimes of an executor. While a step runs and others are to come, one more process is kept waiting: it has
 * its pid namespace and its pipes, and is told what to run when the next step comes. A waiting process dies with this
 * one.
 */
export class Launcher {
  readonly #hostPids: boolean;
  readonly #owner: Owner | undefined;
  readonly #expectsMore: () => boolean;
  #spare: Waiting | undefined;
  #running = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor({ hostPids = false, owner, expectsMore = () => true }: LauncherOptions = {}) {
    this.#hostPids = hostPids;
    this.#owner = owner;
    this.#expectsMore = expectsMore;
  }

  /**
   * Runs a command of `launchCommand` in a folder, the container's bundle. Throws `unavailable` when it cannot be
   * started.
   */
  start(command: readonly string[], cwd: string, io: ExecIo): RuntimeProcess {
    const line = shellLine(command, cwd);
    const isUsual = io.stdin === undefined && io.terminal !== true;
    const spare = isUsual ? this.#take() : undefined;
    const isTold = spare !== undefined && tell(spare, line);
    // One that was killed while it waited is no matter of the step's.
    if (!isTold) spare?.stdio.drop();
    const waiting = isTold ? spare : waitFor(io, this.#hostPids, this.#owner);
    if (!isTold) tell(waiting, line);
    const running = processOf(waiting.child, waiting.stdio, io, this.#hostPids ? { bundle: cwd } : undefined);
    clearTimeout(this.#timer);
    this.#running++;
    const over = () => {
      if (--this.#running > 0) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.close(), patience).unref();
    };
    running.ended.then(over, over);
    return running;
  }

  /** Has a process wait for the next step, unless one does or no step is to come. */
  prepare(): void {
    if (this.#running === 0 || this.#isThere || !this.#expectsMore()) return;
    this.close();
    try {
      this.#spare = waitFor({}, this.#hostPids, this.#owner);
      this.#spare.child.hold(false);
    } catch {
      // What is wrong is told by the step that needs one.
    }
  }

  /** Ends the waiting process. */
  close(): void {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare === undefined) return;
    closeSync(spare.channel);
    spare.stdio.drop();
  }

  get #isThere(): boolean {
    return this.#spare?.child.isOver === false;
  }

  #take(): Waiting | undefined {
    if (!this.#isThere) return undefined;
    const spare = this.#spare;
    this.#spare = undefined;
    spare?.child.hold(true);
    return spare;
  }
}

function waitFor(
  { stdin, terminal: isTerminal }: Pick<ExecIo, 'stdin' | 'terminal'>,
  hostPids: boolean,
  owner: Owner | undefined,
): Waiting {
  const stdio = isTerminal ? terminal() : pipes(stdin !== undefined);
  if (owner !== undefined)
    for (const fd of stdio.child) if (fd !== 'ignore') fchownSync(fd, owner.uid, owner.gid);
  const { child, channel } = spawnOn(stdio, waitingCommand(hostPids), true);
  return { child, channel: channel as number, stdio };
}

/** Tells a waiting process what to run; false when it is not there any more. */
function tell({ channel }: Waiting, line: string): boolean {
  try {
    for (let left = Buffer.from(line); left.length > 0; ) left = left.subarray(writeSync(channel, left));
    return true;
  } catch (cause) {
    if (errnoCode(cause) === 'EPIPE') return false;
    throw fail('unavailable', 'exec', `cannot start the container: ${(cause as Error).message}`, { cause });
  } finally {
    closeSync(channel);
  }
}
