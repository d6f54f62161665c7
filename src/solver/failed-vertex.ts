/** Which vertex's work an error comes from. */
import type { DrydockError } from '../errors/index.ts';
import type { Vertex } from './types.ts';

declare module '../errors/error.ts' {
  interface ErrorFacts {
    /** The vertex whose work failed. Its op may be large, so it is no field of the error. */
    failed?: Vertex;
  }
}

/** Notes that a vertex failed with an error; the first vertex counts, as an error goes up through its users. */
export function noteFailed({ facts }: DrydockError, vertex: Vertex): void {
  facts.failed ??= vertex;
}

/** The vertex that failed with an error; undefined for one that comes from elsewhere. */
export function failedVertex({ facts }: DrydockError): Vertex | undefined {
  return facts.failed;
}
