import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface Child {
  process: ChildProcess;
  /** Lines it has said so far. */
  lines(): string[];
  /** Waits until it has said the line. */
  said(line: string): Promise<void>;
  /** kill -9, and waits for its end. */
  kill(): Promise<void>;
  /** Asks it to end in good order. */
  end(): Promise<void>;
}

/** Starts one of the scripts in this folder. */
export function startChild(script: string, ...args: string[]): Child {
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const closed = once(child, 'close');
  // Only whole lines: the last one may be cut by the kill.
  const lines = () => output.split('\n').slice(0, -1);
  return {
    process: child,
    lines,
    said: async (line) => {
      while (!lines().includes(line)) {
        if (child.exitCode !== null) throw new Error(`${script} ended with ${child.exitCode}: ${errors}`);
        await Promise.race([once(child.stdout, 'data'), closed]);
      }
    },
    kill: async () => {
      if (child.exitCode !== null) throw new Error(`${script} ended with ${child.exitCode}: ${errors}`);
      child.kill('SIGKILL');
      await closed;
    },
    end: async () => {
      child.stdin.end('end');
      await closed;
      if (child.exitCode !== 0) throw new Error(`${script} ended with ${child.exitCode}: ${errors}`);
    },
  };
}
