/** Makes the records of a cache from a build's trace. */
import { outputCount } from '../llb/index.ts';
import type { Digest } from '../oci/index.ts';
import type { TracedVertex } from '../solver/index.ts';
import { type Ref, type RefLayer, snapshotLabels } from '../store/index.ts';
import { type ChartVertex, chartOf } from './format/chart.ts';
import type { CacheConfig } from './format/config.ts';

/**
 * The records of the traces' vertices. `layersOf` gives the layers of a tree (blobs, or other names of them, lowest
 * first); a tree for which it gives none is known by its key alone. Sources are never more than keys.
 */
export async function recordsOf(
  traces: readonly (readonly TracedVertex[])[],
  layersOf: (ref: Ref) => Promise<readonly Digest[] | undefined>,
): Promise<CacheConfig> {
  const vertices: ChartVertex[] = [];
  for (const trace of traces) {
    const offset = vertices.length;
    vertices.push(
      ...(await Promise.all(trace.map((traced) => chartVertex(traced, offset, trace, layersOf)))),
    );
  }
  return chartOf(vertices);
}

async function chartVertex(
  traced: TracedVertex,
  offset: number,
  trace: readonly TracedVertex[],
  layersOf: (ref: Ref) => Promise<readonly Digest[] | undefined>,
): Promise<ChartVertex> {
  const { op, isNamed, vertex, others } = traced;
  const inputs = traced.inputs.map(({ vertex: from, output, selector, content, leaves }) => ({
    ...(trace[from]?.isNamed ? { from: { vertex: from + offset, output, selector } } : {}),
    content,
    leaves,
  }));
  const isSource = vertex.op.op.case === 'source';
  const refs = isNamed && !isSource ? await traced.results() : undefined;
  const outputs = await Promise.all(
    Array.from({ length: outputCount(vertex.op) }, async (_, i) => {
      const ref = refs?.[i];
      const layers = ref && (await layersOf(ref));
      return layers === undefined || layers.length === 0 ? undefined : layers;
    }),
  );
  const from = traced.inputs.map(({ vertex: at, output }) => ({ vertex: at + offset, output }));
  return { op, isNamed, inputs, outputs, others: others && { ...others, from } };
}

/**
 * The range of the layers of `whole` (the first one, and the one after the last) that a tree is made of: its lowest
 * layers, or those of an input that was merged into it. Undefined when the tree has others.
 */
export async function placeIn(
  ref: Ref,
  whole: readonly RefLayer[],
): Promise<{ start: number; end: number } | undefined> {
  const layers = (await ref.layers())?.layers;
  const top = layers?.at(-1);
  if (layers === undefined || top === undefined) return undefined;
  const below = whole[layers.length - 1];
  if (top.snapshot !== undefined && top.snapshot === below?.snapshot) return { start: 0, end: layers.length };
  for (let start = 0; start + layers.length <= whole.length; start++) {
    if (layers.every((layer, i) => isSame(layer, whole[start + i] as RefLayer))) {
      return { start, end: start + layers.length };
    }
  }
  return undefined;
}

/** Whether two layers have the same files, by what is known of them. */
function isSame(one: RefLayer, other: RefLayer): boolean {
  if (one.diffId !== undefined && one.diffId === other.diffId) return true;
  const key = ownerOf(one);
  return key !== undefined && key === ownerOf(other);
}

function ownerOf({ snapshot, info }: RefLayer): string | undefined {
  return info?.labels[snapshotLabels.layerOf] ?? snapshot;
}
