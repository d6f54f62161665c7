/** Finds a step in a definition, and makes definitions of what the step is given. Pure. */
import { createHash } from 'node:crypto';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fail, nearest } from '../../errors/index.ts';
import { type Definition, type DefinitionSchema, type Op, OpSchema } from '../../pb/solver/pb/ops_pb.js';

/** A process of a definition. */
interface FoundStep {
  name: string;
  op: Op;
}

type Input = Op['inputs'][number];

/**
 * The RUN that `wanted` names: a line of its instruction, its name or a part of it (`RUN npm ci`). Throws `not-found`, with
 * the nearest name, and `invalid` for a text that several have.
 */
export function findStep(definition: Definition, wanted: string): FoundStep {
  const steps: (FoundStep & { lines: (line: number) => boolean })[] = [];
  for (const bytes of definition.def) {
    const op = fromBinary(OpSchema, bytes);
    if (op.op.case !== 'exec') continue;
    const digest = digestOf(bytes);
    const { description = {} } = definition.metadata[digest] ?? {};
    const name = description['llb.customname'] || (op.op.value.meta?.args.join(' ') ?? '');
    const places = definition.Source?.locations[digest]?.locations ?? [];
    const lines = (line: number) =>
      places.some(({ ranges }) =>
        ranges.some(({ start, end }) => (start?.line ?? 0) <= line && line <= (end?.line ?? 0)),
      );
    steps.push({ name, op, lines });
  }
  const line = /^\d+$/.test(wanted) ? Number(wanted) : undefined;
  const whole = steps.filter(({ name }) => name === wanted);
  const parts = steps.filter(({ name, lines }) => (line === undefined ? name.includes(wanted) : lines(line)));
  const found = whole.length > 0 ? whole : parts;
  const [first] = found;
  if (first === undefined) throw notFound(wanted, steps);
  // A RUN of several platforms, or one that stages share, is there more than once only under several names.
  if (found.length > 1) {
    const names = found.map(({ name }) => name).join('; ');
    throw fail('invalid', 'client', `several steps are named by ${JSON.stringify(wanted)}: ${names}`, {
      hint: 'Give more of the name, or the line of the RUN.',
    });
  }
  return first;
}

function notFound(wanted: string, steps: readonly FoundStep[]): Error {
  const names = steps.map(({ name }) => name);
  const plain = names.map((name) => name.replace(/^\[[^\]]*\] /, ''));
  const near = nearest(wanted, plain);
  const hint =
    names.length === 0
      ? 'The build has no RUN, or none that its target needs.'
      : near === undefined
        ? `Steps: ${names.slice(0, 20).join('; ')}`
        : `Did you mean ${JSON.stringify(near)}?`;
  return fail('not-found', 'client', `no step of this build is named by ${JSON.stringify(wanted)}`, { hint });
}

/** The definition of one output of an op, with the ops that it needs alone. */
export function definitionOfInput(
  whole: Definition,
  { digest, index }: Input,
): MessageInitShape<typeof DefinitionSchema> {
  const ops = new Map(whole.def.map((bytes) => [digestOf(bytes), bytes]));
  const needed = new Set<string>();
  const left = [digest];
  for (let at = left.pop(); at !== undefined; at = left.pop()) {
    const bytes = ops.get(at);
    if (bytes === undefined || needed.has(at)) continue;
    needed.add(at);
    left.push(...fromBinary(OpSchema, bytes).inputs.map((input) => input.digest));
  }
  const end = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest, index }] }));
  const metadata = Object.fromEntries(Object.entries(whole.metadata).filter(([of]) => needed.has(of)));
  const def = [...whole.def.filter((bytes) => needed.has(digestOf(bytes))), end];
  return { def, metadata, Source: whole.Source };
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
