/**
 * Places the steps of a build in layers: each below all that it is made of, and beside its neighbours so that few lines
 * cross. Pure. K. Sugiyama's method: layers by the longest way, order by the mean place of neighbours. It is a
 * generator, which yields where it may be interrupted: a thousand steps take longer than a frame of the page.
 */
import type { Step } from '../../src/api/ui/types.ts';

export interface Placed {
  step: Step;
  /** The number of the layer and the place in it. */
  layer: number;
  place: number;
}

export interface Layout {
  nodes: Placed[];
  byDigest: ReadonlyMap<string, Placed>;
  layers: number;
  /** The most nodes of one layer. */
  widest: number;
}

const sweeps = 6;

/** Steps that are looked at between two yields. */
const together = 200;

export function* layoutOf(steps: readonly Step[]): Generator<void, Layout> {
  const known = new Map(steps.map((step) => [step.digest, step]));
  const inputs = new Map(
    steps.map((step) => [step.digest, step.inputs.filter((digest) => known.has(digest))]),
  );
  yield;
  const layerOf = yield* layersOf(steps, inputs);
  const layers: string[][] = [];
  for (const { digest } of steps) {
    const layer = layerOf.get(digest) ?? 0;
    while (layers.length <= layer) layers.push([]);
    layers[layer]?.push(digest);
  }
  const users = new Map<string, string[]>(steps.map(({ digest }) => [digest, []]));
  for (const [digest, below] of inputs) for (const input of below) users.get(input)?.push(digest);
  const place = new Map<string, number>();
  const number = (layer: readonly string[]) => {
    for (const [i, digest] of layer.entries()) place.set(digest, i);
  };
  layers.forEach(number);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const down = sweep % 2 === 0;
    const neighbours = down ? inputs : users;
    for (const layer of down ? layers : [...layers].reverse()) {
      const means = new Map(
        layer.map((digest) => [digest, meanOf(neighbours.get(digest) ?? [], place, digest)]),
      );
      layer.sort((a, b) => (means.get(a) ?? 0) - (means.get(b) ?? 0));
      number(layer);
      yield;
    }
  }
  const nodes = steps.map((step) => ({
    step,
    layer: layerOf.get(step.digest) ?? 0,
    place: place.get(step.digest) ?? 0,
  }));
  return {
    nodes,
    byDigest: new Map(nodes.map((node) => [node.step.digest, node])),
    layers: layers.length,
    widest: Math.max(0, ...layers.map(({ length }) => length)),
  };
}

function meanOf(neighbours: readonly string[], place: ReadonlyMap<string, number>, digest: string): number {
  if (neighbours.length === 0) return place.get(digest) ?? 0;
  return neighbours.reduce((sum, each) => sum + (place.get(each) ?? 0), 0) / neighbours.length;
}

/** The longest way from a step without inputs; without recursion, and whatever the order of the steps. */
function* layersOf(
  steps: readonly Step[],
  inputs: ReadonlyMap<string, readonly string[]>,
): Generator<void, ReadonlyMap<string, number>> {
  const layer = new Map<string, number>();
  const open = new Set<string>();
  for (const { digest: first } of steps) {
    const stack = [first];
    while (stack.length > 0) {
      const digest = stack[stack.length - 1] as string;
      const below = inputs.get(digest) ?? [];
      const missing = layer.has(digest) ? [] : below.filter((each) => !layer.has(each) && !open.has(each));
      if (missing.length > 0 && !open.has(digest)) {
        open.add(digest);
        stack.push(...missing);
        continue;
      }
      open.delete(digest);
      stack.pop();
      if (layer.has(digest)) continue;
      layer.set(digest, Math.max(0, ...below.map((each) => (layer.get(each) ?? -1) + 1)));
      if (layer.size % together === 0) yield;
    }
  }
  return layer;
}
