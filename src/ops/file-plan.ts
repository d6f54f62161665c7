/** Plans a FileOp: which actions run on one snapshot after each other, and which snapshots are committed. Pure. */
import { fail } from '../errors/index.ts';
import type { ChownOpt, FileAction, FileOp } from '../pb/solver/pb/ops_pb.js';

/** A tree that actions read or build on: the empty tree, an input of the vertex, or the result of an earlier action. */
export type Operand = { input: number } | { action: number } | undefined;

/** Actions that are applied one after the other to one snapshot, which is then committed. */
interface Segment {
  base: Operand;
  /** The indices of the actions, in order. The last one names the segment's result. */
  actions: number[];
}

interface FilePlan {
  /** The segments, in an order in which bases and sources come first. */
  segments: Segment[];
  /** For each output of the vertex, the action that makes it. */
  outputs: number[];
}

/** Checks the indices and lays out the snapshots. Throws `invalid` (hop `llb`). */
export function planFileOp(op: FileOp, inputs: number): FilePlan {
  const { actions } = op;
  const outputs = new Map<number, number>();
  /** The actions whose trees are read by others, or built on more than once. Each needs a snapshot of its own. */
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

/** The operand that an index in action `i` stands for. It may name earlier actions only, so there are no circles. */
export function operandOf(index: bigint, inputs: number, i: number): Operand {
  const n = Number(index);
  if (n === -1) return undefined;
  if (n < -1 || n >= inputs + i) {
    throw fail('invalid', 'llb', `invalid input index ${n} in file action ${i} with ${inputs} inputs`);
  }
  return n < inputs ? { input: n } : { action: n - inputs };
}

/**
 * The indices of the trees that an action reads besides its base: the tree it copies from, and those that name its
 * owner.
 */
function readBy(action: FileAction): bigint[] {
  const read = namedOwners(ownerOf(action)).map(({ input }) => input);
  if (action.action.case === 'copy') read.unshift(action.secondaryInput);
  return read;
}

/** The owner that an action gives; undefined when it gives none. */
export function ownerOf(action: FileAction): ChownOpt | undefined {
  const { action: what } = action;
  return what.case === undefined || what.case === 'rm' ? undefined : what.value.owner;
}

/** The trees in which an owner's names are looked up, with the file in each that holds them. */
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
