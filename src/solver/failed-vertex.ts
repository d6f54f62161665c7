/** Which vertex's work an error comes from. Its op may be large, so it is no part of the error itself. */
import type { Vertex } from './types.ts';

const vertices = new WeakMap<Error, Vertex>();

/** Notes that a vertex failed with an error; the first vertex counts, as an error goes up through its users. */
export function noteFailed(error: Error, vertex: Vertex): void {
  if (!vertices.has(error)) vertices.set(error, vertex);
}

/** The vertex that failed with an error; undefined for one that comes from elsewhere. */
export function failedVertex(error: Error): Vertex | undefined {
  return vertices.get(error);
}
