/** Finds out whether a step was short of memory: the kernel says in the step's cgroup what it has killed, and why. */

import { dirname, join } from 'node:path';
import { readText } from '../linux/index.ts';
import { ramText } from '../words/index.ts';
import type { CgroupHost } from './cgroups.ts';

/** The kernel has killed a process of a step because there was no memory for it. */
export interface Shortage {
  /** The limit in bytes that was reached; undefined when the machine itself had no memory left. */
  limit: number | undefined;
}

/** A limit counts as reached at this share of it: the kernel kills when it cannot get another batch of pages. */
const nearly = 0.9;
/** Above this, v1's number means that there is no limit. */
const noLimit = 2 ** 60;

/** How many processes of a group the kernel has killed for want of memory so far. */
export function killsIn(host: CgroupHost, group: string): number {
  return host.trees.reduce((sum, tree) => sum + killsUnder(host, join(tree, group)), 0);
}

function killsUnder({ kind }: CgroupHost, folder: string): number {
  const events = readText(join(folder, kind === 'v2' ? 'memory.events' : 'memory.oom_control'));
  return Number(/^oom_kill (\d+)/m.exec(events)?.[1] ?? 0);
}

/**
 * The shortage in a group; undefined when no more than `known` processes were killed in it for want of memory. The limit
 * is the lowest of the group's own and of those above it, if the group's use came near it.
 */
export function shortageIn(host: CgroupHost, group: string, known = 0): Shortage | undefined {
  for (const tree of host.trees) {
    const folder = join(tree, group);
    const isV2 = host.kind === 'v2';
    if (killsUnder(host, folder) <= known) continue;
    const limit = isV2 ? lowestV2(tree, folder) : lowestV1(folder);
    const peak = numberIn(join(folder, isV2 ? 'memory.peak' : 'memory.max_usage_in_bytes'));
    // Linux has memory.peak since 5.19; before that, what is limited is taken to have been at its limit.
    const isReached = limit !== undefined && (peak === undefined || peak >= limit * nearly);
    return { limit: isReached ? limit : undefined };
  }
  return undefined;
}

function lowestV1(folder: string): number | undefined {
  const text = /^hierarchical_memory_limit (\d+)/m.exec(readText(join(folder, 'memory.stat')))?.[1];
  const limit = text === undefined ? noLimit : Number(text);
  return limit >= noLimit ? undefined : limit;
}

function lowestV2(tree: string, folder: string): number | undefined {
  let lowest: number | undefined;
  for (let at = folder; at !== tree && at !== '/'; at = dirname(at)) {
    const limit = numberIn(join(at, 'memory.max'));
    if (limit !== undefined && limit < (lowest ?? Number.POSITIVE_INFINITY)) lowest = limit;
  }
  return lowest;
}

function numberIn(file: string): number | undefined {
  const text = readText(file).trim();
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Puts a shortage in words: `the kernel killed a process of it at the memory limit of 64MiB`. */
export function shortageText({ limit }: Shortage): string {
  return limit === undefined
    ? 'the kernel killed a process of it, for the machine had no memory left'
    : `the kernel killed a process of it at the memory limit of ${ramText(limit)}`;
}

/** The remedy for a shortage, a sentence. */
export function shortageHint({ limit }: Shortage): string {
  return limit === undefined
    ? 'Give the machine more memory, or build less at a time.'
    : 'Allow it more (--memory, --resource memory=…, or the limit of its cgroup parent), or let it use less in parallel.';
}
