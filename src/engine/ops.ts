/** The table of ops: which maker makes the op of a vertex. */
import { fail } from '../errors/index.ts';
import {
  buildOp,
  diffOp,
  execOp,
  fileOp,
  mergeOp,
  type OpDeps,
  passthroughOp,
  scanOp,
} from '../ops/index.ts';
import type { OpFactory, OpMaker } from '../solver/index.ts';
import { type SourceDeps, sourceOp } from '../source/index.ts';

const makers: Record<string, OpMaker<OpDeps & SourceDeps>> = {
  build: buildOp,
  diff: diffOp,
  exec: execOp,
  file: fileOp,
  merge: mergeOp,
  passthrough: passthroughOp,
  scan: scanOp,
  source: sourceOp,
};

/** The solver's op factory. It throws `unsupported` (hop `llb`) for a kind of op that is not in the table. */
export function makeOpFactory(deps: OpDeps & SourceDeps): OpFactory {
  return (vertex) => {
    const kind = vertex.op.op.case;
    const maker = kind === undefined ? undefined : makers[kind];
    if (maker === undefined) {
      throw fail('unsupported', 'llb', `an op of the kind ${kind ?? '(none)'} is not supported`);
    }
    return maker(vertex, deps);
  };
}
