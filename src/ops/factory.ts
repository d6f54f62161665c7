/** Makes the op of a vertex by its kind. */
import { fail } from '../errors/error.ts';
import type { OpFactory } from '../solver/types.ts';
import { sourceOp } from '../source/source.ts';
import { buildOp } from './build.ts';
import type { OpDeps, OpMaker } from './deps.ts';
import { diffOp } from './diff.ts';
import { execOp } from './exec.ts';
import { fileOp } from './file.ts';
import { mergeOp } from './merge.ts';
import { passthroughOp } from './passthrough.ts';

const makers: Record<string, OpMaker> = {
  build: buildOp,
  diff: diffOp,
  exec: execOp,
  file: fileOp,
  merge: mergeOp,
  passthrough: passthroughOp,
  source: sourceOp,
};

/** The solver's op factory. It throws `unsupported` (hop `llb`) for an op of a kind nobody knows. */
export function makeOpFactory(deps: OpDeps): OpFactory {
  return (vertex) => {
    const kind = vertex.op.op.case;
    const maker = kind === undefined ? undefined : makers[kind];
    if (maker === undefined) {
      throw fail('unsupported', 'llb', `an op of the kind ${kind ?? '(none)'} is not supported`);
    }
    return maker(vertex, deps);
  };
}
