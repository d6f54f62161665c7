/** From a wire Definition to a checked graph of vertices. Definitions may be hostile: nothing here recurses. */

import { DrydockError, fail, type SourceLocation } from '../errors/error.ts';
import { digestOf } from '../oci/digest.ts';
import type { Digest } from '../oci/types.ts';
import type { Definition, Op, Source } from '../pb/solver/pb/ops_pb.js';
import { opName } from './names.ts';
import { fromBinary, OpSchema } from './pb.ts';
import type { Edge, Vertex } from './vertex.ts';

/** Most ops a definition may hold. */
export const maxVertices = 100_000;

export interface Graph {
  /** Inputs come before their users. */
  vertices: Vertex[];
  /** What the definition is for; undefined for an empty definition (scratch). */
  output: Edge | undefined;
}

interface Draft {
  digest: Digest;
  op: Op;
  /** Inputs not yet visited. */
  waiting: number;
}

/**
 * Parses, checks and links a definition. Every op but the last is a vertex; the last only names the output.
 * Throws `invalid` on hop `llb`: undecodable op, unknown input digest, cycle, bad output index, too many ops.
 */
export function loadGraph(definition: Definition): Graph {
  const defs = definition.def;
  if (defs.length === 0) return { vertices: [], output: undefined };
  if (defs.length > maxVertices) {
    throw fail('invalid', 'llb', `the definition has ${defs.length} ops, more than ${maxVertices}`);
  }
  const drafts = new Map<string, Draft>();
  let last: Draft | undefined;
  for (const bytes of defs) {
    last = { digest: digestOf(bytes), op: decodeOp(bytes), waiting: 0 };
    drafts.set(last.digest, last);
  }
  if (last === undefined) return { vertices: [], output: undefined };
  const order = topologicalOrder(drafts);
  const locations = new LocationTable(definition.Source);
  const vertices = new Map<string, Vertex>();
  const edge = (input: { digest: string; index: bigint }): Edge => {
    const vertex = vertices.get(input.digest);
    if (vertex === undefined) throw fail('invalid', 'llb', `invalid missing input digest ${input.digest}`);
    const index = Number(input.index);
    if (index < 0 || index > 1_000_000) throw fail('invalid', 'llb', `invalid output index ${index}`);
    return { vertex, index };
  };
  for (const draft of order) {
    if (draft === last && draft.op.op.case === undefined) continue;
    const metadata = definition.metadata[draft.digest];
    vertices.set(draft.digest, {
      digest: draft.digest,
      op: draft.op,
      inputs: draft.op.inputs.map(edge),
      metadata,
      name: metadata?.description['llb.customname'] || opName(draft.op),
      source: locations.of(draft.digest),
    });
  }
  const list = [...vertices.values()];
  if (last.op.op.case !== undefined) {
    // A bare op list without a closing op: the last op is itself the output.
    const vertex = vertices.get(last.digest);
    return { vertices: list, output: vertex && { vertex, index: 0 } };
  }
  const target = last.op.inputs[0];
  if (target === undefined) return { vertices: list, output: undefined };
  return { vertices: list, output: edge(target) };
}

function decodeOp(bytes: Uint8Array): Op {
  try {
    return fromBinary(OpSchema, bytes);
  } catch (cause) {
    throw new DrydockError('failed to parse llb proto op', { code: 'invalid', hop: 'llb', cause });
  }
}

/** Kahn's algorithm: what is left over when no op is free lies on a cycle. */
function topologicalOrder(drafts: Map<string, Draft>): Draft[] {
  const users = new Map<string, Draft[]>();
  for (const draft of drafts.values()) {
    for (const input of draft.op.inputs) {
      if (!drafts.has(input.digest)) {
        throw fail('invalid', 'llb', `invalid missing input digest ${input.digest || '(empty)'}`);
      }
      draft.waiting++;
      const list = users.get(input.digest);
      if (list === undefined) users.set(input.digest, [draft]);
      else list.push(draft);
    }
  }
  const order = [...drafts.values()].filter((draft) => draft.waiting === 0);
  for (let i = 0; i < order.length; i++) {
    const done = order[i];
    for (const user of (done && users.get(done.digest)) ?? []) {
      if (--user.waiting === 0) order.push(user);
    }
  }
  if (order.length < drafts.size) throw fail('invalid', 'llb', 'the definition has a cycle');
  return order;
}

/** Source locations by vertex, decoded on demand. */
class LocationTable {
  readonly #source: Source | undefined;
  readonly #texts: string[];

  constructor(source: Source | undefined) {
    this.#source = source;
    this.#texts = source?.infos.map((info) => Buffer.from(info.data).toString('utf8')) ?? [];
  }

  of(digest: string): SourceLocation | undefined {
    const location = this.#source?.locations[digest]?.locations[0];
    if (location === undefined) return undefined;
    const info = this.#source?.infos[location.sourceIndex];
    const text = this.#texts[location.sourceIndex];
    if (info === undefined || text === undefined) return undefined;
    return {
      filename: info.filename,
      text,
      ranges: location.ranges.map((range) => ({
        start: { line: range.start?.line ?? 0, character: range.start?.character ?? 0 },
        end: { line: range.end?.line ?? range.start?.line ?? 0, character: range.end?.character ?? 0 },
      })),
    };
  }
}
