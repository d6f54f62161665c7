/** The servers that a bench starts. None outlives it, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface Server {
  readonly pid: number;
  /** The end of what it has printed. */
  log(): string;
  /** Asks it to end and waits until it has. */
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
// They get SIGTERM, so that dockerd takes its containerd along.
process.on('exit', () => {
  for (const child of running) child.kill();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

/**
 * Starts one in a process group of its own, so that a Ctrl-C reaches it through us only. What it prints goes to
 * `logFile`. Rejects when it cannot be started.
 */
export async function startServer(file: string, args: readonly string[], logFile?: string): Promise<Server> {
  const log = logFile === undefined ? undefined : openSync(logFile, 'a');
  const child = spawn(file, args, { stdio: ['ignore', log ?? 'ignore', log ?? 'ignore'], detached: true });
  if (log !== undefined) closeSync(log);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  running.add(child);
  void ended.then(() => running.delete(child));
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (err) => {
      running.delete(child);
      reject(err);
    });
  });
  return {
    pid: child.pid ?? 0,
    log: () => (logFile === undefined ? '' : readFileSync(logFile, 'utf8').slice(-4000)),
    async stop() {
      if (!running.has(child)) return;
      child.kill();
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(timer);
    },
  };
}
