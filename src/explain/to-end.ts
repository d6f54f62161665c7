/** How far it is from each step to the end of a build, by the times of earlier runs. Pure. */
import type { Digest } from '../oci/index.ts';
import { keptName, type Vertex } from '../solver/index.ts';

/**
 * For each vertex the longest way from its beginning to the end of the build, in ms. `tookBefore` gives the time of a
 * step by its name; a step that is not known counts as nothing.
 */
export function timesToEnd(
  vertices: readonly Vertex[],
  tookBefore: (name: string) => number | undefined,
): ReadonlyMap<Digest, number> {
  const toEnd = new Map<Digest, number>();
  const inputsOf = (vertex: Vertex) => [...new Set(vertex.inputs.map((input) => input.vertex))];
  const users = new Map<Vertex, number>(vertices.map((vertex) => [vertex, 0]));
  for (const vertex of vertices)
    for (const input of inputsOf(vertex)) users.set(input, (users.get(input) ?? 0) + 1);
  const after = new Map<Vertex, number>();
  const ready = vertices.filter((vertex) => users.get(vertex) === 0);
  for (let vertex = ready.pop(); vertex !== undefined; vertex = ready.pop()) {
    const time = (tookBefore(keptName(vertex)) ?? 0) + (after.get(vertex) ?? 0);
    toEnd.set(vertex.digest, time);
    for (const input of inputsOf(vertex)) {
      after.set(input, Math.max(after.get(input) ?? 0, time));
      const left = (users.get(input) ?? 0) - 1;
      users.set(input, left);
      if (left === 0) ready.push(input);
    }
  }
  return toEnd;
}
