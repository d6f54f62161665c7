/** The place before a step: what the step is given is made, and a process finds it as the step would. */
import { toJson } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import { LLBBridge } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { type Definition, OpSchema } from '../../pb/solver/pb/ops_pb.js';
import type { BuildCalls } from './container.ts';
import { definitionOfInput, type FoundStep, inputsOfFiles } from './definition.ts';
import { failedPlace, filePlace, type Place } from './place.ts';

/**
 * Makes what a step is given, and returns the place before the step. A COPY or ADD whose source cannot be had is without
 * it. Rejects with the failure of a step that comes before.
 */
export async function placeBefore(
  calls: BuildCalls,
  definition: Definition,
  step: FoundStep,
): Promise<Place> {
  const { transport, call } = calls;
  const bridge = createClient(LLBBridge, transport);
  const made = async (input: FoundStep['op']['inputs'][number]) =>
    (await bridge.solve({ Definition: definitionOfInput(definition, input), Evaluate: true }, call)).ref;
  const { op } = step;
  if (op.op.case === 'file') {
    const { base, read } = inputsOfFiles(definition, step);
    const root = base === undefined ? '' : await made(base);
    const sources = await Promise.all(read.map((each) => made(each).catch(() => '')));
    if (call.signal.aborted) throw call.signal.reason;
    return filePlace(op, root, sources);
  }
  const trees = await Promise.all(op.inputs.map(made));
  const mounts = op.op.case === 'exec' ? op.op.value.mounts : [];
  const mountIDs = mounts.map(({ input }) => trees[Number(input)] ?? '');
  const place = failedPlace({ op: toJson(OpSchema, op, { enumAsInteger: true }) as object, mountIDs });
  if (place === undefined) throw fail('internal', 'client', `the step ${step.name} has no process`);
  return place;
}
