/** Finds the steps whose layers the tree of a graph is stacked of. Pure. */
import type { Edge, Graph } from '../llb/index.ts';
import type { Digest } from '../oci/index.ts';
import { planFileOp } from '../ops/index.ts';

/**
 * The steps that the graph's output stands on, one on the other: by vertex, which of its outputs it is. The walk ends at a
 * source, and where trees are merged.
 *
 *     layerChain(graph).get(vertex.digest) // 0: the vertex's first output is a part of the result's own layers
 */
export function layerChain({ output }: Graph): Map<Digest, number> {
  const chain = new Map<Digest, number>();
  for (let at = output; at !== undefined; at = baseOf(at)) {
    if (chain.has(at.vertex.digest)) break;
    chain.set(at.vertex.digest, at.index);
  }
  return chain;
}

/** What an output of a step is made on; undefined for the empty tree, a source and a merge. */
function baseOf({ vertex, index }: Edge): Edge | undefined {
  const { op } = vertex.op;
  if (op.case === 'exec') {
    const mount = op.value.mounts.find(({ output }) => Number(output) === index);
    return mount === undefined ? undefined : vertex.inputs[Number(mount.input)];
  }
  if (op.case !== 'file') return undefined;
  const { segments, outputs } = planFileOp(op.value, vertex.inputs.length);
  let action = outputs[index];
  for (;;) {
    const base = segments.find(({ actions }) => actions.at(-1) === action)?.base;
    if (base === undefined) return undefined;
    if ('input' in base) return vertex.inputs[base.input];
    action = base.action;
  }
}
