/**
 * The OCI runtime that steps are run with: the one that was named, or else crun where it is installed and runs a container
 * on this host, or else runc. crun takes a third of runc's time and processor to start a container.
 */

import { accessSync, constants, mkdirSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import { readText } from '../linux/index.ts';
import type { CgroupHost } from './cgroups.ts';

export interface Runtime {
  /** The program, a name or a path. */
  command: string;
  /** The mount points that it must not see: it takes their presence for a host that it does not support. */
  hidden: readonly string[];
  /** Why crun, which is installed, is not used. */
  why?: string;
}

/** Runs a container with a runtime and gives the reason why it does not work; undefined when it works. */
type TryRuntime = (runtime: Runtime) => Promise<string | undefined>;

const usual: Runtime = { command: 'runc', hidden: [] };

/** What this process looks programs up in, as the runtime's own PATH has it. */
export const searchPath: string = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`;

/**
 * Chooses the runtime. `named` is taken as it is. What a try of crun has shown is kept in `stateDir` and holds as long as
 * crun, the kernel and the kind of cgroups are the same.
 *
 *     const { command } = await chooseRuntime({ named: undefined, stateDir, cgroups, attempt });
 */
export async function chooseRuntime({
  named,
  stateDir,
  cgroups,
  attempt,
  path = searchPath,
}: {
  named: string | undefined;
  stateDir: string;
  cgroups: CgroupHost;
  attempt: TryRuntime;
  path?: string;
}): Promise<Runtime> {
  if (named !== undefined) return { command: named, hidden: hiddenFor(named, cgroups) };
  // runc alone runs without cgroups.
  const crun = cgroups.kind === 'none' ? undefined : findProgram('crun', path);
  if (crun === undefined) return usual;
  const runtime = { command: crun, hidden: hiddenFor(crun, cgroups) };
  const key = keyOf(crun, cgroups);
  const file = join(stateDir, 'runtime.json');
  const known = read(file);
  if (known?.key === key) return known.why === undefined ? runtime : { ...usual, why: known.why };
  const why = await attempt(runtime);
  keep(stateDir, file, { key, why });
  return why === undefined ? runtime : { ...usual, why };
}

/**
 * The runtime of a container with a terminal: runc in the place of a crun that nobody has named. crun (seen with 1.28)
 * loses what a process writes to its terminal when the process has ended before crun looks for its end the first time.
 */
export function forTerminal(chosen: Runtime, isNamed: boolean, path = searchPath): Runtime {
  return !isNamed && isCrun(chosen.command) && findProgram('runc', path) !== undefined ? usual : chosen;
}

function isCrun(command: string): boolean {
  return /(^|\/)crun$/.test(command);
}

/** On a hybrid host crun refuses a v2 tree that has controllers; it needs none where v1 has the others. */
function hiddenFor(command: string, { kind, unified }: CgroupHost): string[] {
  return isCrun(command) && kind === 'v1' && unified !== undefined ? [unified] : [];
}

/** The path of a program in the folders of a `$PATH`. */
export function findProgram(name: string, path = searchPath): string | undefined {
  return path
    .split(delimiter)
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => join(folder, name))
    .find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function keyOf(program: string, { kind, controllers }: CgroupHost): string {
  const file = realpathSync(program);
  const { size, mtimeMs } = statSync(file);
  return [file, size, mtimeMs, release(), kind, [...controllers].sort().join(' ')].join('\n');
}

interface Known {
  key: string;
  why?: string;
}

function read(file: string): Known | undefined {
  try {
    return JSON.parse(readText(file)) as Known;
  } catch {
    return undefined;
  }
}

function keep(stateDir: string, file: string, known: Known): void {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(known), { mode: 0o600 });
    renameSync(draft, file);
  } catch {
    // It is found out again the next time.
  }
}
