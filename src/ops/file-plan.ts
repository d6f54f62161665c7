/** How a FileOp's actions hang together: which run on one snapshot after another, and what is committed. Pure. */
import { fail } from '../errors/index.ts';
import type { ChownOpt, FileAction, FileOp } from '../pb/solver/pb/ops_pb.js';

/** A tree that actions read or build on: nothing, an input of the vertex, or what an earlier action made. */
export type Operand = { input: number } | { action: number } | undefined;

/** Actions applied one after the other to one snapshot, which is then committed. */
interface Segment {
  base: Operand;
  /** Indices of actions, in order. The last one names the segment's result. */
  actions: number[];
}

interface FilePlan {
  /** In an order in which bases and sources come first. */
  segments: Segment[];
  /** Per output of the vertex, the action whose result it is. */
  outputs: number[];
}

/** Checks indices and lays out the snapshots. Throws `invalid` (hop `llb`). */
export function planFileOp(op: FileOp, inputs: number): FilePlan {
  const { actions } = op;
  const outputs = new Map<number, number>();
  /** Actions whose tree others read, or build on more than once: each needs a snapshot of its own. */
  const committed = new Set<number>();
  const builtOn = new Set<number>();
  for (const [i, action] of actions.entries()) {
    if (action.action.case === undefined) throw fail('invalid', 'llb', 'unknown file action');
    const base = operandOf(action.input, inputs, i);
    if (base !== undefined && 'action' in base) {
      if (builtOn.has(base.action)) committed.add(base.action);
      builtOn.add(base.action);
    }
    for (const index of readBy(action)) {
      const read = operandOf(index, inputs, i);
      if (read !== undefined && 'action' in read) committed.add(read.action);
    }
    const output = Number(action.output);
    if (output === -1) continue;
    if (output < 0 || outputs.has(output)) throw fail('invalid', 'llb', `duplicate output ${output}`);
    outputs.set(output, i);
    committed.add(i);
  }
  if (outputs.size === 0) throw fail('invalid', 'llb', 'no outputs specified');
  const list = Array.from(outputs, (_, i) => {
    const action = outputs.get(i);
    if (action === undefined) throw fail('invalid', 'llb', `missing output index ${i}`);
    return action;
  });
  const segments: Segment[] = [];
  for (const last of [...committed].sort((a, b) => a - b)) {
    const chain: number[] = [last];
    let base = operandOf((actions[last] as FileAction).input, inputs, last);
    while (base !== undefined && 'action' in base && !committed.has(base.action)) {
      chain.push(base.action);
      base = operandOf((actions[base.action] as FileAction).input, inputs, base.action);
    }
    segments.push({ base, actions: chain.reverse() });
  }
  return { segments, outputs: list };
}

/** What an index of action `i` stands for. Only earlier actions may be named, so there are no loops. */
export function operandOf(index: bigint, inputs: number, i: number): Operand {
  const n = Number(index);
  if (n === -1) return undefined;
  if (n < -1 || n >= inputs + i) {
    throw fail('invalid', 'llb', `invalid input index ${n} in file action ${i} with ${inputs} inputs`);
  }
  return n < inputs ? { input: n } : { action: n - inputs };
}

/** Indices of the trees an action reads besides its base: the copied one, and those that name its owner. */
function readBy(action: FileAction): bigint[] {
  const read = namedOwners(ownerOf(action)).map(({ input }) => input);
  if (action.action.case === 'copy') read.unshift(action.secondaryInput);
  return read;
}

export function ownerOf(action: FileAction): ChownOpt | undefined {
  const { action: what } = action;
  return what.case === undefined || what.case === 'rm' ? undefined : what.value.owner;
}

/** The trees in which an owner's names are looked up, with the file that holds them. */
export function namedOwners(owner: ChownOpt | undefined): { input: bigint; file: string }[] {
  const found: { input: bigint; file: string }[] = [];
  if (owner?.user?.user.case === 'byName') {
    found.push({ input: owner.user.user.value.input, file: '/etc/passwd' });
  }
  if (owner?.group?.user.case === 'byName') {
    found.push({ input: owner.group.user.value.input, file: '/etc/group' });
  }
  return found;
}
