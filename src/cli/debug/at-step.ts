/** Opens a shell where a step of a build would run, with all that the step would have, before it does. */
import { createClient } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import { type DockerfileRequest, optionsOf } from '../../frontend/index.ts';
import { LLBBridge } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Definition, ExecOp } from '../../pb/solver/pb/ops_pb.js';
import { placeBefore } from './before-step.ts';
import { type BuildCalls, withContainer } from './container.ts';
import { definitionsOf, findStep } from './definition.ts';
import type { Screen } from './inspector.ts';
import { sourcesText } from './place.ts';
import { runCommand } from './shell.ts';
import { ownStreams } from './terminal.ts';

/** The step, and what runs in its place. */
export interface StepWish {
  step: string;
  /** '' is a shell. */
  command: string;
  /** The IDs of the secrets that are given. */
  secrets: readonly string[];
}

/**
 * Makes what the step needs, runs the command in the step's place, and returns its exit code. Rejects with the failure
 * of a step that comes before, and throws `not-found` and `invalid` for a step that is not named well.
 */
export async function debugStep(
  calls: BuildCalls,
  request: DockerfileRequest,
  { step, command, secrets }: StepWish,
  screen: Screen,
): Promise<number> {
  const { transport, call } = calls;
  const bridge = createClient(LLBBridge, transport);
  const { options: FrontendOpt, inputs: FrontendInputs } = optionsOf(request);
  const asked = { Frontend: 'dockerfile.v0', FrontendOpt, FrontendInputs };
  const answer = await bridge.solve({ ...asked, allowResultReturn: true, allowResultArrayRef: true }, call);
  const { definition, ...found } = stepIn(definitionsOf(answer.result), step);
  const { name, op } = found;
  const exec = op.op.case === 'exec' ? op.op.value : undefined;
  const place = await placeBefore(calls, definition, found);
  screen.pause();
  try {
    screen.stderr.write(
      `\nIn the place of ${name}, in ${place.meta.cwd}; what is done here is gone with it.\n${sourcesText(place)}`,
    );
    for (const id of exec === undefined ? [] : secretsOf(exec)) {
      if (!secrets.includes(id))
        screen.stderr.write(`Its secret ${id} is not given (--secret id=${id},src=FILE).\n`);
    }
    return await withContainer(calls, place, (container) =>
      runCommand(container, place, command, ownStreams({ ...screen, stdin: process.stdin })),
    );
  } finally {
    screen.resume();
  }
}

/** The step in the first definition that has it. Throws as `findStep` does for the first one. */
function stepIn(
  definitions: readonly Definition[],
  step: string,
): { definition: Definition } & ReturnType<typeof findStep> {
  let first: unknown = fail('invalid', 'client', 'the build has no steps');
  for (const [i, definition] of definitions.entries()) {
    try {
      return { definition, ...findStep(definition, step) };
    } catch (err) {
      if (i === 0) first = err;
    }
  }
  throw first;
}

/** The IDs of the secrets that a step has, as files and as variables. */
function secretsOf({ mounts, secretenv }: ExecOp): Set<string> {
  const files = mounts.flatMap(({ secretOpt }) => secretOpt?.ID ?? []);
  return new Set([...files, ...secretenv.map(({ ID }) => ID)]);
}
