import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createExecutor } from '../../src/executor/executor.ts';
import type { ExecSpec, Executor } from '../../src/executor/types.ts';
import { busyboxRoot } from '../kit/busybox.ts';

/** An executor with a busybox root under a fresh overlay for every step. */
export class Harness {
  readonly dir = mkdtempSync(join(tmpdir(), 'drydock-exec-'));
  readonly lower = join(this.dir, 'lower');
  readonly executor: Executor;
  #steps = 0;

  constructor(options: Partial<Parameters<typeof createExecutor>[0]> = {}) {
    this.executor = createExecutor({
      runDir: join(this.dir, 'run'),
      stateDir: join(this.dir, 'state'),
      ...options,
    });
    mkdirSync(this.lower);
    busyboxRoot(this.lower);
  }

  /** A spec of `sh -c script` on a new overlay; its upper folder is `upper`. */
  spec(script: string | string[], more: Partial<ExecSpec> = {}): { spec: ExecSpec; upper: string } {
    const n = ++this.#steps;
    const upper = join(this.dir, `upper${n}`);
    const work = join(this.dir, `work${n}`);
    mkdirSync(upper);
    mkdirSync(work);
    const options = ['index=off', `workdir=${work}`, `upperdir=${upper}`, `lowerdir=${this.lower}`];
    const spec: ExecSpec = {
      id: `step${n}`,
      args: typeof script === 'string' ? ['/bin/sh', '-c', script] : script,
      env: ['PATH=/bin'],
      cwd: '/',
      user: '',
      hostname: '',
      root: { mounts: [{ type: 'overlay', source: 'overlay', options }], readonly: false },
      mounts: [],
      removeStubParents: true,
      network: 'default',
      security: 'sandbox',
      extraHosts: [],
      ulimits: [],
      shmSize: 0,
      cgroupParent: '',
      ...more,
    };
    return { spec, upper };
  }

  async run(script: string | string[], more: Partial<ExecSpec> = {}, signal = new AbortController().signal) {
    const { spec, upper } = this.spec(script, more);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const io = { stdout: (c: Buffer) => void out.push(c), stderr: (c: Buffer) => void err.push(c) };
    const { cleared, ...result } = await this.executor.run(spec, io, signal);
    await cleared;
    return { ...result, upper, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
  }

  /** Mounts of this machine that have to do with folders: the harness's own, and others that are named. */
  mounts(...folders: string[]): string[] {
    const own = [this.dir, ...folders];
    const all = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    return all.filter((line) => own.some((folder) => line.includes(folder)));
  }

  close(): void {
    this.executor.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
