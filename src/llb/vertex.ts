import type { SourceLocation } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type { OpMetadata, Op as PbOp } from '../pb/solver/pb/ops_pb.js';

/** One node of a build graph: an LLB op with its inputs resolved to vertices. */
export interface Vertex {
  /** Digest of the marshalled op. */
  readonly digest: Digest;
  readonly op: PbOp;
  readonly inputs: readonly Edge[];
  readonly metadata: OpMetadata | undefined;
  /** The name that progress shows: `[build 2/4] RUN make`. */
  readonly name: string;
  readonly source: SourceLocation | undefined;
}

/** An output of a vertex. */
export interface Edge {
  readonly vertex: Vertex;
  readonly index: number;
}
