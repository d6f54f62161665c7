/** The nodes of a graph that is still being built; they have no digests yet. */
import type { SourceLocation } from '../errors/index.ts';
import type { Platform } from '../oci/index.ts';
import type { Op as PbOp } from '../pb/solver/pb/ops_pb.js';

/** Facts about an op besides its work. Only `platform` changes its digest. */
export interface OpOptions {
  /** The name that progress shows. */
  name?: string;
  /** Whether the op runs even when its result is known. */
  ignoreCache?: boolean;
  /** A group of ops; this op's progress is shown as part of it. */
  progressGroup?: { id: string; name: string; weak?: boolean };
  /** The place in a source file where the op was written. */
  location?: SourceLocation & { language?: string };
  /** Further facts in free form, by key. */
  description?: Readonly<Record<string, string>>;
  /** Further capabilities (`pb.Cap…` names) that a daemon must have for the op. */
  caps?: readonly string[];
  platform?: Platform;
}

/** An op of the graph. */
export interface OpNode {
  readonly options: OpOptions;
  /** The capabilities that the op itself needs. */
  readonly caps: readonly string[];
  /** All outputs of other ops that it reads; one may come several times. */
  inputs(): Iterable<OutputRef>;
  /**
   * Encodes the op's message. `inputs` numbers the inputs that it is asked for, and becomes `Op.inputs`. `platform` is
   * stated when the op depends on the platform and names none itself.
   */
  encode(inputs: InputTable, platform: Platform): PbOp;
}

/** One output of an op. */
export interface Output {
  readonly node: OpNode;
  readonly index: number;
}

/** An output that is decided only when the graph is marshalled. */
interface LazyOutput {
  get(): OutputRef;
}

/** An output, an output that is known later, or undefined (scratch). */
export type OutputRef = Output | LazyOutput | undefined;

/** Returns the output itself; undefined for scratch. */
export function settle(ref: OutputRef): Output | undefined {
  let at = ref;
  while (at !== undefined && 'get' in at) at = at.get();
  return at;
}

/** The inputs of one op while it is encoded. Equal inputs share an index. */
export interface InputTable {
  /** Adds an input and returns its index; -1 for scratch. */
  add(ref: OutputRef): number;
  /** Adds an input like `add`, but each call gets an index of its own. */
  append(ref: OutputRef): number;
  readonly list: readonly { digest: string; index: bigint }[];
}
