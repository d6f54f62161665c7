/** Times a command and the memory of it and its servers. */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Sample {
  /** Wall time in s. */
  seconds: number;
  /** Highest sum of resident memory of the command's processes and the servers', in bytes. */
  peak: number;
}

/** Runs a command to its end; `servers` are process ids whose trees count as well. Rejects when it fails. */
export function measure(
  [file = '', ...args]: readonly string[],
  options: { servers: number[]; env?: NodeJS.ProcessEnv; cwd?: string },
): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(file, args, {
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    let peak = 0;
    const timer = setInterval(() => {
      peak = Math.max(peak, residentOf([child.pid ?? 0, ...options.servers]));
    }, 25);
    child.once('error', reject);
    child.once('close', (code) => {
      clearInterval(timer);
      const seconds = (performance.now() - started) / 1000;
      if (code === 0) resolve({ seconds, peak });
      else reject(new Error(`${file} ${args.join(' ')} ended with ${code}:\n${output}`));
    });
  });
}

/** Resident bytes of process trees, as /proc has them. Shared pages count once per process, for all builders alike. */
function residentOf(roots: readonly number[]): number {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const stat = read(`/proc/${pid}/stat`);
    const after = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    parents.set(pid, Number(after[1]));
  }
  const inTree = (pid: number) => {
    for (let p: number | undefined = pid; p !== undefined && p > 1; p = parents.get(p)) {
      if (roots.includes(p)) return true;
    }
    return false;
  };
  let total = 0;
  for (const pid of parents.keys()) {
    if (inTree(pid)) total += Number(read(`/proc/${pid}/statm`).split(' ')[1] ?? 0) * 4096;
  }
  return total;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const mid = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[mid] ?? 0) : ((sorted[mid - 1] ?? 0) + (sorted[mid] ?? 0)) / 2;
}
