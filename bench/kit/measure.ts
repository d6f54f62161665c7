/** Times a command, and what it and its servers take of memory and processor. */
import { spawn } from 'node:child_process';
import { cpuOf, endedChildrenCpu, residentOf } from './process.ts';

export interface Sample {
  /** Wall time in s. */
  seconds: number;
  /** Processor time in s of the command and the servers. */
  cpu: number;
  /** Processor time in s of the servers alone. */
  servers?: number;
  /** Highest sum of resident memory of the command's processes and the servers', in bytes. */
  peak: number;
}

export interface MeasureOptions {
  /** Process ids whose trees count as well. */
  servers: readonly number[];
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** What the command reads. */
  input?: Uint8Array;
}

/** Runs a command to its end. Rejects when it fails. */
export function measure([file = '', ...args]: readonly string[], options: MeasureOptions): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const before = cpuOf(options.servers);
    const beforeAll = before + endedChildrenCpu();
    const started = performance.now();
    const child = spawn(file, args, {
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4000);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    child.stdin?.on('error', () => {}); // its exit status says it
    child.stdin?.end(options.input);
    let peak = 0;
    const timer = setInterval(() => {
      peak = Math.max(peak, residentOf([child.pid ?? 0, ...options.servers]));
    }, 50);
    child.once('error', (err) => {
      clearInterval(timer);
      reject(err);
    });
    child.once('close', (code) => {
      clearInterval(timer);
      const seconds = (performance.now() - started) / 1000;
      const after = cpuOf(options.servers);
      const cpu = after + endedChildrenCpu() - beforeAll;
      if (code === 0) resolve({ seconds, cpu, peak, servers: after - before });
      else reject(new Error(`${file} ${args.join(' ')} ended with ${code}:\n${output}`));
    });
  });
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which `part` (0 to 1) of all are, between two where it lies between. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * part;
  const low = sorted[Math.floor(at)] ?? 0;
  const high = sorted[Math.ceil(at)] ?? low;
  return low + (high - low) * (at - Math.floor(at));
}
