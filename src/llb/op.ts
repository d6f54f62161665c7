/** The nodes of a graph that is still being built, before they have digests. */
import type { SourceLocation } from '../errors/index.ts';
import type { Platform } from '../oci/index.ts';
import type { Op as PbOp } from '../pb/solver/pb/ops_pb.js';

/** What may be said about an op besides what it does. Only `platform` changes its digest. */
export interface OpOptions {
  /** What progress shows for it. */
  name?: string;
  /** Run it even when its result is known. */
  ignoreCache?: boolean;
  /** Shows this op's progress as part of a group. */
  progressGroup?: { id: string; name: string; weak?: boolean };
  /** Where in a source file it was written. */
  location?: SourceLocation & { language?: string };
  /** Further free-form facts, by key. */
  description?: Readonly<Record<string, string>>;
  /** Further capabilities (`pb.Cap…` names) that a daemon needs for it. */
  caps?: readonly string[];
  platform?: Platform;
}

/** An op of the graph. */
export interface OpNode {
  readonly options: OpOptions;
  /** Capabilities that the op itself asks for. */
  readonly caps: readonly string[];
  /** All outputs of other ops that it reads, possibly with repeats. */
  inputs(): Iterable<OutputRef>;
  /**
   * The op's message. `inputs` numbers the inputs that it is asked for and becomes `Op.inputs`; `platform` is the
   * one to state when the op is specific to one and names none itself.
   */
  encode(inputs: InputTable, platform: Platform): PbOp;
}

/** One output of an op. */
export interface Output {
  readonly node: OpNode;
  readonly index: number;
}

/** An output that is settled only when the graph is marshalled. */
interface LazyOutput {
  get(): OutputRef;
}

/** An output, an output known later, or nothing (scratch). */
export type OutputRef = Output | LazyOutput | undefined;

/** The output itself; undefined for scratch. */
export function settle(ref: OutputRef): Output | undefined {
  let at = ref;
  while (at !== undefined && 'get' in at) at = at.get();
  return at;
}

/** The inputs of one op while it is encoded: equal ones share an index. */
export interface InputTable {
  /** Index of the input, -1 for scratch. */
  add(ref: OutputRef): number;
  /** Like `add`, but gives each call its own index. */
  append(ref: OutputRef): number;
  readonly list: readonly { digest: string; index: bigint }[];
}
