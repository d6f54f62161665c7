/** Looks at a build context ahead of need, on a thread that has nothing else to do; the folder is only a guess. */
import { setImmediate } from 'node:timers/promises';
import type { TaskContext } from '../workers/index.ts';
import { Look } from './look.ts';

let ahead: Look | undefined;

/** The worker task `fs.glance`. It lets other tasks of its thread run in between. `dir` is an absolute path. */
export async function glance({ dir }: { dir: string }, ctx: Pick<TaskContext, 'aborted'>): Promise<void> {
  const look = new Look(dir);
  ahead = look;
  while (ahead === look && !ctx.aborted() && look.step()) await setImmediate();
}

/** A look at a folder: the one that was begun ahead, which can be taken once, or a new one. */
export function takeLook(dir: string): Look {
  const look = ahead?.dir === dir ? ahead : new Look(dir);
  ahead = undefined;
  return look;
}
