/** What a failed step leaves: its inputs and its mounts as they were in the end, for a debugger to look at. */
import { randomUUID } from 'node:crypto';
import { DrydockError } from '../errors/index.ts';
import type { Op } from '../pb/solver/pb/ops_pb.js';
import { keepTrees, type Ref, type Store } from '../store/index.ts';

interface Leftovers {
  readonly op: Op;
  /** Of a process by mount, undefined: it has no input; else by input. */
  readonly inputs: readonly (Ref | undefined)[];
  /** By mount, or by file action: what can be mounted again; undefined for what is no tree of the build's. */
  readonly mounts: readonly (Ref | undefined)[];
  /** What of the op failed: a file action, or the reading of an input. Undefined: all of it. */
  readonly subject?: { file: number } | { input: number };
  /** Keeps them until somebody has taken them over or dropped them. */
  readonly lease: string;
}

declare module '../errors/error.ts' {
  interface ErrorFacts {
    /** Of the failed step; null: it was tried to keep them, and there are none. A failure may be that of several steps. */
    leftovers?: Leftovers | null;
  }
}

/** Ties leftovers to the failure they are of. `collect` makes the mounts' trees under the lease it is given. */
export async function leave(
  error: DrydockError,
  store: Store,
  what: Pick<Leftovers, 'op' | 'inputs' | 'subject'>,
  collect: (lease: string) => Promise<Leftovers['mounts']>,
): Promise<void> {
  // On a full disk nothing more is kept.
  if (error.code === 'exhausted' || error.details?.diskFull === true) return;
  if (error.code === 'canceled' || error.facts.leftovers !== undefined) return;
  error.facts.leftovers = null;
  const lease = `failed-${randomUUID()}`;
  try {
    await store.leases.create(lease);
    const mounts = await collect(lease);
    await keepTrees(store, lease, what.inputs);
    error.facts.leftovers = { ...what, mounts, lease };
  } catch {
    // The step's own failure is what counts.
    await store.leases.delete(lease).catch(() => {});
  }
}

/** What a failure left, or the one it came of. */
export function leftoversOf(error: unknown): Leftovers | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth++) {
    const found = at instanceof DrydockError ? at.facts.leftovers : undefined;
    if (found != null) return found;
  }
  return undefined;
}

/** Has another lease keep what a failure left, in the place of its own. */
export async function adoptLeftovers(error: unknown, store: Store, lease: string): Promise<void> {
  const left = leftoversOf(error);
  if (left === undefined) return;
  // Of two builds that failed with the same step the other one may be over already.
  await keepTrees(store, lease, [...left.inputs, ...left.mounts]).catch(() => {});
  await dropLeftovers(error, store);
}

/** Lets go of what a failure left. */
export async function dropLeftovers(error: unknown, store: Store): Promise<void> {
  const left = leftoversOf(error);
  if (left !== undefined) await store.leases.delete(left.lease).catch(() => {});
}
