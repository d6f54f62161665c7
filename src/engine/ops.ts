/** Makes the op of a vertex by its kind. */
import { fail } from '../errors/error.ts';
import { buildOp } from '../ops/build.ts';
import type { OpDeps } from '../ops/deps.ts';
import { diffOp } from '../ops/diff.ts';
import { execOp } from '../ops/exec.ts';
import { fileOp } from '../ops/file.ts';
import { mergeOp } from '../ops/merge.ts';
import { passthroughOp } from '../ops/passthrough.ts';
import type { OpFactory, OpMaker } from '../solver/types.ts';
import type { SourceDeps } from '../source/deps.ts';
import { sourceOp } from '../source/source.ts';

const makers: Record<string, OpMaker<OpDeps & SourceDeps>> = {
  build: buildOp,
  diff: diffOp,
  exec: execOp,
  file: fileOp,
  merge: mergeOp,
  passthrough: passthroughOp,
  source: sourceOp,
};

/** The solver's op factory. It throws `unsupported` (hop `llb`) for an op of a kind nobody knows. */
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
