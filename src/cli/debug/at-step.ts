/** Opens a shell where a step of a build would run, with all that the step would have, before it does. */
import { toJson } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import { type DockerfileRequest, optionsOf } from '../../frontend/index.ts';
import { hostPlatform } from '../../oci/index.ts';
import { LLBBridge, type Result } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { type Definition, OpSchema } from '../../pb/solver/pb/ops_pb.js';
import { type BuildCalls, withContainer } from './container.ts';
import { definitionOfInput, findStep } from './definition.ts';
import type { Screen } from './inspector.ts';
import { failedPlace } from './place.ts';
import { runCommand } from './shell.ts';
import { ownStreams } from './terminal.ts';

/** The step, and what runs in its place; '' is a shell. */
export interface StepWish {
  step: string;
  command: string;
}

/**
 * Makes what the step needs, runs the command in the step's place, and returns its exit code. Rejects with the failure
 * of a step that comes before, and throws `not-found` and `invalid` for a step that is not named well.
 */
export async function debugStep(
  calls: BuildCalls,
  request: DockerfileRequest,
  { step, command }: StepWish,
  screen: Screen,
): Promise<number> {
  const { transport, call } = calls;
  const bridge = createClient(LLBBridge, transport);
  const { options: FrontendOpt, inputs: FrontendInputs } = optionsOf(request);
  const asked = { Frontend: 'dockerfile.v0', FrontendOpt, FrontendInputs };
  const answer = await bridge.solve({ ...asked, allowResultReturn: true, allowResultArrayRef: true }, call);
  const definition = definitionOf(answer.result);
  if (definition === undefined) throw fail('invalid', 'client', 'the build has no steps');
  const { name, op } = findStep(definition, step);
  const trees = await Promise.all(
    op.inputs.map(async (input) => {
      const Definition = definitionOfInput(definition, input);
      return (await bridge.solve({ Definition, Evaluate: true }, call)).ref;
    }),
  );
  const exec = op.op.case === 'exec' ? op.op.value : undefined;
  const mountIDs = exec?.mounts.map(({ input }) => trees[Number(input)] ?? '') ?? [];
  const place = failedPlace({ op: toJson(OpSchema, op, { enumAsInteger: true }) as object, mountIDs });
  if (place === undefined) throw fail('internal', 'client', `the step ${name} has no process`);
  screen.pause();
  try {
    screen.stderr.write(
      `\nIn the place of ${name}, in ${place.meta.cwd}; what is done here is gone with it.\n`,
    );
    return await withContainer(calls, place, (container) =>
      runCommand(container, place, command, ownStreams({ ...screen, stdin: process.stdin })),
    );
  } finally {
    screen.resume();
  }
}

/** The definition of a result; of several platforms' that of this machine's, or the first. */
function definitionOf(result: Result | undefined): Definition | undefined {
  if (result?.result.case === 'ref') return result.result.value.def;
  if (result?.result.case !== 'refs') return undefined;
  const { refs } = result.result.value;
  const { os, architecture } = hostPlatform();
  const names = Object.keys(refs);
  const name = names.find((each) => each.startsWith(`${os}/${architecture}`)) ?? names[0] ?? '';
  return refs[name]?.def;
}
