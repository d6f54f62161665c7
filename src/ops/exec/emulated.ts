/** Looks whether a step's program can run here at all, before it is started. */
import { readSync } from 'node:fs';
import type { Emulation } from '../../emulation/index.ts';
import type { ExecMount } from '../../executor/index.ts';
import {
  bringFiles,
  cleanPath,
  type FsEntry,
  type FsView,
  type Mount,
  openEntry,
  openView,
  specOfMounts,
  statFollow,
} from '../../fs/index.ts';
import { closeFd } from '../../linux/index.ts';

interface Process {
  args: readonly string[];
  cwd: string;
  /** `NAME=VALUE`, with a PATH. */
  env: readonly string[];
}

interface Place {
  root: { mounts: Mount[] };
  mounts: readonly Pick<ExecMount, 'dest'>[];
}

/**
 * Throws `unsupported` (hop `exec`), with the remedy as its hint, when the program that a process starts with is made for
 * a processor whose programs do not run here. A program that is not in the root itself, or is a script, is left to the
 * kernel.
 */
export async function checkRuns(
  process: Process,
  { root, mounts }: Place,
  emulation: Emulation,
): Promise<void> {
  const view = openView(specOfMounts(root.mounts));
  const head = await headOfProgram(process, view, mounts);
  if (head === undefined) return;
  const refusal = await emulation.refusal(head, (path) => statFollow(view, path)?.type === 'file');
  if (refusal !== undefined) throw refusal;
}

/** The beginning of the file that a process starts with; undefined where it is not found in the root. */
async function headOfProgram(
  process: Process,
  view: FsView,
  mounts: Place['mounts'],
): Promise<Buffer | undefined> {
  for (const path of pathsOf(process)) {
    try {
      const entry = statFollow(view, path);
      // What is mounted over the root hides its files.
      const isHidden = mounts.some(({ dest }) => isBelow(path, dest) || (entry && isBelow(entry.path, dest)));
      if (isHidden) return undefined;
      if (entry?.type !== 'file') continue;
      await bringFiles(view, [path], { most: headSize });
      return headOf(entry);
    } catch {
      // A path that leads nowhere: the runtime says so.
      return undefined;
    }
  }
  return undefined;
}

/** Where a process's program may be, as execvp looks for it. */
function pathsOf({ args, cwd, env }: Process): string[] {
  const [name = ''] = args;
  const at = (path: string) => cleanPath(path.startsWith('/') ? path : `${cwd}/${path}`);
  if (name.includes('/')) return [at(name)];
  const folders = env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? '';
  return folders.split(':').map((folder) => at(`${folder || '.'}/${name}`));
}

/** The bytes of a program that tell for which machine it is. */
const headSize = 64;

function headOf(entry: FsEntry): Buffer {
  const head = Buffer.alloc(headSize);
  const fd = openEntry(entry);
  try {
    return head.subarray(0, readSync(fd, head, 0, head.length, 0));
  } finally {
    closeFd(fd);
  }
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}
