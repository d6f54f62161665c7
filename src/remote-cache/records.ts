/** A build's trace as the records of a cache. */
import { type ChartVertex, chartOf } from '../cache/remote/chart.ts';
import type { CacheConfig } from '../cache/remote/config.ts';
import { outputCount } from '../llb/outputs.ts';
import type { Digest } from '../oci/types.ts';
import type { TracedVertex } from '../solver/trace.ts';
import type { Ref, RefLayer } from '../store/ref.ts';

/**
 * The records of what the traces' vertices are. `layersOf` says of what layers (blobs or other names of them, lowest
 * first) a tree is; one it does not want is known by its key alone. Sources are never more than keys.
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
  const { op, isNamed, vertex } = traced;
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
  return { op, isNamed, inputs, outputs };
}

/** How many layers of `whole` a tree is made of, when it is made of nothing but its lowest ones. */
export async function prefixOf(ref: Ref, whole: readonly RefLayer[]): Promise<number | undefined> {
  const layers = (await ref.layersElsewhere?.()) ?? (await ref.layers());
  const top = layers?.at(-1);
  if (layers === undefined || top === undefined || layers.length > whole.length) return undefined;
  const there = whole[layers.length - 1] as RefLayer;
  if (top.snapshot !== undefined && top.snapshot === there.snapshot) return layers.length;
  const same = layers.every(({ diffId }, i) => diffId !== undefined && diffId === whole[i]?.diffId);
  return same ? layers.length : undefined;
}
