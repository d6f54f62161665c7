import type { Op as PbOp } from '../pb/solver/pb/ops_pb.js';
import { constraints } from './message.ts';
import type { InputTable, OpNode, OpOptions, OutputRef } from './op.ts';
import { create, OpSchema } from './pb.ts';
import { State } from './state.ts';

/** A tree that is looked through for packages. Its name is the beginning of its file's name. */
interface ScanTarget {
  name: string;
  state: State;
}

/** The settings of a scan. */
interface ScanOptions extends OpOptions {
  /** `spdx` or `cyclonedx` */
  format: string;
  /** The date that the lists bear, in s since the epoch; default: when the scan is done. */
  created?: number;
}

class ScanNode implements OpNode {
  readonly caps = [];
  readonly options: OpOptions;
  readonly #targets: readonly ScanTarget[];
  readonly #format: string;
  readonly #created: number;

  constructor(targets: readonly ScanTarget[], { format, created = 0, ...options }: ScanOptions) {
    this.#targets = targets;
    this.#format = format;
    this.#created = created;
    this.options = options;
  }

  inputs(): readonly OutputRef[] {
    return this.#targets.map(({ state }) => state.output);
  }

  encode(inputs: InputTable): PbOp {
    const targets = this.#targets.map(({ name, state }) => ({
      name,
      input: BigInt(inputs.append(state.output)),
    }));
    const value = { targets, format: this.#format, created: BigInt(this.#created) };
    return create(OpSchema, { op: { case: 'scan', value }, constraints: constraints() });
  }
}

/**
 * Lists the packages of trees: a tree with a file for each, `NAME.spdx.json` or `NAME.cdx.json`. The op is Drydock's own;
 * other daemons cannot solve it.
 */
export function scan(targets: readonly ScanTarget[], options: ScanOptions): State {
  return new State({ node: new ScanNode(targets, options), index: 0 });
}
