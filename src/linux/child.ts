/** Programs that this process has started, and their ends. */
import { isMainThread } from 'node:worker_threads';
import { exitOf, spawnProgram } from './spawn.ts';

/** How often it is looked for ends that no signal has told, in ms. Node gives signals to the main thread alone. */
const lookEvery = isMainThread ? 1000 : 20;

export interface Child {
  readonly pid: number;
  /** Resolves with the exit code, 128+n for signal n. */
  readonly ended: Promise<number>;
  /** Whether its end was heard of. Until then the pid is no other program's. */
  readonly isOver: boolean;
  /** Sends a signal; false when it is over. */
  kill(signal: NodeJS.Signals): boolean;
  /** Whether this process goes on until the program has ended, as it does at first. */
  hold(isHeld: boolean): void;
}

/** Those that run, by their pids. */
const running = new Map<number, Started>();
let timer: NodeJS.Timeout | undefined;

class Started implements Child {
  readonly pid: number;
  readonly ended: Promise<number>;
  isOver = false;
  isHeld = true;
  #tell: (code: number) => void = () => {};

  constructor(pid: number) {
    this.pid = pid;
    this.ended = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  kill(signal: NodeJS.Signals): boolean {
    return !this.isOver && process.kill(this.pid, signal);
  }

  hold(isHeld: boolean): void {
    this.isHeld = isHeld;
    holdProcess();
  }

  end(code: number): void {
    this.isOver = true;
    this.#tell(code);
  }
}

/**
 * Starts a program, as `spawnProgram` does.
 *
 *     const child = startProgram('/bin/sh', ['sh', '-c', 'exit 3'], { env: {}, fds: ['ignore', 1, 2] });
 *     await child.ended // 3
 */
export function startProgram(...program: Parameters<typeof spawnProgram>): Child {
  if (timer === undefined) {
    process.on('SIGCHLD', hearEnds);
    timer = setInterval(hearEnds, lookEvery);
  }
  try {
    const child = new Started(spawnProgram(...program));
    running.set(child.pid, child);
    return child;
  } finally {
    holdProcess();
  }
}

/** Looks which programs have ended: one signal may tell of several. */
function hearEnds(): void {
  for (const [pid, child] of running) {
    const code = exitOf(pid);
    if (code === undefined) continue;
    running.delete(pid);
    child.end(code);
  }
  holdProcess();
}

/** Has this process go on while one that is held runs, and listens no more when none runs. */
function holdProcess(): void {
  if (running.size === 0) {
    clearInterval(timer);
    timer = undefined;
    process.off('SIGCHLD', hearEnds);
    return;
  }
  for (const { isHeld } of running.values()) {
    if (!isHeld) continue;
    timer?.ref();
    return;
  }
  timer?.unref();
}
