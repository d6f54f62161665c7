/** The names that BuildKit has for a vertex in its caches. Pure. */
import type { CacheMap, OtherKeys, Vertex } from '../solver/index.ts';
import { execKeys } from './exec.ts';
import { fileKeys } from './file.ts';
import { sourceKeys } from './source.ts';
import { buildKeys, diffKeys, mergeKeys, passthroughKeys } from './whole-inputs.ts';

/**
 * The keys of a vertex whose cache map is known. Undefined for what no cache of BuildKit has a name for (a client's
 * folder), and for ops whose names are not known here: such a vertex is never found in a cache of BuildKit's, nor what
 * stands on it.
 */
export function buildkitKeys(vertex: Vertex, map: CacheMap): OtherKeys | undefined {
  const { op } = vertex.op;
  switch (op.case) {
    case 'source':
      return sourceKeys(vertex, op.value, map);
    case 'exec':
      return execKeys(op.value, vertex.op.platform, vertex.inputs.length);
    case 'file':
      return fileKeys(op.value, vertex.inputs.length);
    case 'merge':
      return mergeKeys(op.value, vertex.inputs.length);
    case 'diff':
      return diffKeys(op.value, vertex.inputs.length);
    case 'build':
      return buildKeys(op.value, vertex.inputs.length);
    case 'passthrough':
      return passthroughKeys(op.value, vertex.inputs.length);
    default:
      return undefined;
  }
}
