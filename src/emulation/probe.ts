/** Finds out which processors' programs this machine runs, by running one of each. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { probeProgram } from './elf.ts';
import { type Machine, machines, probeExit } from './machines.ts';

/** The longest time that the program of a probe, which does nothing, may take, in ms. */
const patience = 10_000;

/**
 * The processors of `which` whose programs run here, natively or by a handler; undefined where no program can be
 * started at all from the folder for temporary files.
 */
export async function probe(
  which: readonly Machine[],
  native: string,
): Promise<ReadonlySet<Machine> | undefined> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-probe-'));
  try {
    const own = machines.filter(({ architecture }) => architecture === native);
    const asked = [...new Set([...own, ...which])];
    const runs = await Promise.all(
      asked.map(async (machine) => {
        const file = join(dir, machine.architecture);
        writeFileSync(file, probeProgram(machine), { mode: 0o700 });
        return (await exitOf(file)) === probeExit;
      }),
    );
    if (own.length > 0 && runs[0] !== true) return undefined;
    return new Set(asked.filter((_machine, i) => runs[i]));
  } catch {
    return undefined;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The exit code of a program. A shell that is started in its stead, as libc does, finds no commands. */
function exitOf(file: string): Promise<number | null> {
  return new Promise((resolve) => {
    try {
      const child = spawn(file, [], { stdio: 'ignore', env: { PATH: '/nonexistent' }, timeout: patience });
      child.on('error', () => resolve(null));
      child.on('exit', (code) => resolve(code));
    } catch {
      resolve(null);
    }
  });
}
