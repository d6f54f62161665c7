/** Makes the controllers of a cgroup v2 tree work in the groups of steps. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readText } from '../linux/index.ts';
import { parseBool } from '../words/index.ts';

/** BuildKit's name for the group of everything that ran in the tree's root. */
const init = 'init';

/**
 * Passes a tree's controllers on to the groups below its root, and returns those that are. The root of a container's own
 * tree passes none on while processes are in it; with the variable `BUILDKIT_SETUP_CGROUPV2_ROOT` (as in BuildKit) all of
 * them are moved to a group of their own first.
 */
export function passOnControllers(tree: string, env: NodeJS.ProcessEnv = process.env): Set<string> {
  if (parseBool(env.BUILDKIT_SETUP_CGROUPV2_ROOT ?? '') === true) moveAll(tree, join(tree, init));
  const there = wordsIn(join(tree, 'cgroup.controllers'));
  const passed = wordsIn(join(tree, 'cgroup.subtree_control'));
  for (const name of there) {
    if (passed.has(name)) continue;
    try {
      writeFileSync(join(tree, 'cgroup.subtree_control'), `+${name}`);
    } catch {
      // One that cannot be passed on is not among those with which limits can be set.
    }
  }
  return wordsIn(join(tree, 'cgroup.subtree_control'));
}

function moveAll(from: string, to: string): void {
  try {
    mkdirSync(to, { recursive: true });
  } catch {
    return;
  }
  for (const pid of wordsIn(join(from, 'cgroup.procs'))) {
    try {
      writeFileSync(join(to, 'cgroup.procs'), pid);
    } catch {
      // It ended meanwhile, or is the kernel's own.
    }
  }
}

function wordsIn(file: string): Set<string> {
  return new Set(readText(file).split(/\s+/).filter(Boolean));
}
