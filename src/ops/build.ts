/** LLB's BuildOp: a definition inside a definition, given inline or as a file in an input. */

import { fail } from '../errors/index.ts';
import { bringFiles, openView, readFileIn } from '../fs/index.ts';
import { BuildOpSchema, toBinary } from '../llb/index.ts';
import { digestOf } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import { refContext } from '../solver/index.ts';
import type { OpMaker } from './deps.ts';

/** The name of the input, and of the file in it, that holds the definition. */
const definitionInput = 'buildkit.llb.definition';

export const buildOp: OpMaker = (vertex, deps) => {
  const { op } = vertex.op;
  if (op.case !== 'build') throw fail('invalid', 'llb', 'not a build op');
  const build = op.value;
  if (build.builder !== -1n) {
    throw fail(
      'unsupported',
      'llb',
      'a build op with a builder image is not supported: only LLB definitions are',
    );
  }
  const inline = build.def !== undefined && build.def.def.length > 0 ? build.def : undefined;
  const input = Number(build.inputs[definitionInput]?.input ?? -1);
  if (inline === undefined && (input < 0 || input >= vertex.inputs.length)) {
    throw fail('invalid', 'llb', `a build op needs an input ${definitionInput}`);
  }
  return {
    async cacheMap() {
      return {
        digest: digestOf(`build ${digestOf(toBinary(BuildOpSchema, build))}`),
        deps: vertex.inputs.map(() => ({})),
      };
    },
    async exec(refs, ctx) {
      let definition: Definition | undefined = inline;
      if (definition === undefined) {
        const ref = refs[input];
        if (ref === undefined) throw fail('invalid', 'llb', `a build op has no input ${input}`);
        // Loaded only when asked for: hardly a build has such an op.
        const { decodeDefinition, maxDefinition } = await import('./build-definition.ts');
        const path = `/${build.attrs['llbbuild.filename'] || definitionInput}`;
        const view = openView(await ref.view(refContext(ctx)));
        await bringFiles(view, [path], { signal: ctx.signal });
        const bytes = readFileIn(view, path, maxDefinition);
        if (bytes === undefined)
          throw fail('not-found', 'llb', `the build op's definition ${path} is not there`);
        definition = await decodeDefinition(bytes, path);
      }
      return [(await deps.solveNested(definition, ctx)) ?? deps.refs.empty()];
    },
  };
};
