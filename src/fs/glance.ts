/**
 * A first look at a build context by a thread that has nothing else to do yet: stats of its files, which the first
 * view of the folder takes instead of asking the system again. Only a guess of what will be needed: it stops when
 * that view is done, and what it did not get to is looked at as ever.
 */
import { type BigIntStats, type Dirent, readdirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { lstatHost } from './stat.ts';

/** Files of a context that are worth it; what a huge one has more is left. */
const most = 50_000;
/** Folders that contexts have and builds rarely read. */
const skipped = new Set(['.git', 'node_modules']);

let seen: Map<string, BigIntStats> | undefined;
let over = false;

/** The worker task `fs.glance`. Lets other tasks of its thread in between. `dir` is an absolute path. */
export async function glance({ dir }: { dir: string }): Promise<void> {
  if (over) return;
  const stats = new Map<string, BigIntStats>();
  seen = stats;
  const folders = [dir];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of entriesOf(folder)) {
      const path = `${folder}/${entry.name}`;
      const st = lstatHost(path);
      if (st !== undefined) stats.set(path, st);
      if (entry.isDirectory() && !skipped.has(entry.name)) folders.push(path);
    }
    if (stats.size > most) return;
    await setImmediate();
    if (over) return;
  }
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

/** What was seen of a file, once. */
export function takeGlance(hostPath: string): BigIntStats | undefined {
  if (seen === undefined) return undefined;
  const st = seen.get(hostPath);
  if (st !== undefined) seen.delete(hostPath);
  return st;
}

/** Forgets what is left: it is old by now. */
export function endGlance(): void {
  seen = undefined;
  over = true;
}
