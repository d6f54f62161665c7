/** A look at a build context by a thread that has nothing else to do yet; only a guess of what will be needed. */
import { setImmediate } from 'node:timers/promises';
import type { TaskContext } from '../workers/index.ts';
import { Look } from './look.ts';

let ahead: Look | undefined;

/** The worker task `fs.glance`. Lets other tasks of its thread in between. `dir` is an absolute path. */
export async function glance({ dir }: { dir: string }, ctx: Pick<TaskContext, 'aborted'>): Promise<void> {
  const look = new Look(dir);
  ahead = look;
  while (ahead === look && !ctx.aborted() && look.step()) await setImmediate();
}

/** A look at a folder: the one that was begun ahead, once, or a new one. */
export function takeLook(dir: string): Look {
  const look = ahead?.dir === dir ? ahead : new Look(dir);
  ahead = undefined;
  return look;
}
