/** Finds a step in a definition, and makes definitions of what the step is given. Pure. */
import { createHash } from 'node:crypto';
import { create, equals, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fail, nearest } from '../../errors/index.ts';
import { hostPlatform } from '../../oci/index.ts';
import type { Result } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { type Definition, type DefinitionSchema, type Op, OpSchema } from '../../pb/solver/pb/ops_pb.js';

/** A process of a definition, or what writes files into a tree (COPY, ADD, WORKDIR). */
export interface FoundStep {
  name: string;
  digest: string;
  op: Op;
}

type Input = Op['inputs'][number];

/** A step of a definition, and whether it comes from a line of the Dockerfile. */
type Step = FoundStep & { isOf: (line: number) => boolean };

/**
 * The step that `wanted` names: a line of its instruction, its name or a part of it (`RUN npm ci`). A part of several
 * names means the RUN, if one has it. Throws `not-found`, with the nearest name, and `invalid` for a text that several have.
 */
export function findStep(definition: Definition, wanted: string): FoundStep {
  const steps = stepsOf(definition);
  const line = /^\d+$/.test(wanted) ? Number(wanted) : undefined;
  const whole = steps.filter(({ name }) => name === wanted);
  const parts = steps.filter(({ name, isOf }) => (line === undefined ? name.includes(wanted) : isOf(line)));
  const processes = parts.filter(({ op }) => op.op.case === 'exec');
  const found = whole.length > 0 ? whole : processes.length > 0 ? processes : parts;
  const [first] = found;
  if (first === undefined) throw notFound(wanted, steps);
  // A RUN of several platforms, or one that stages share, is there more than once only under several names.
  if (found.length > 1) {
    const names = found.map(({ name }) => name).join('; ');
    throw fail('invalid', 'client', `several steps are named by ${JSON.stringify(wanted)}: ${names}`, {
      hint: 'Give more of the name, or its line.',
    });
  }
  return first;
}

/**
 * The step that an op is, or that takes the files of the source that the op is: an ADD whose download has failed.
 * Undefined: the definitions have none.
 */
export function stepOfOp(
  definitions: readonly Definition[],
  op: Op,
): { definition: Definition; step: FoundStep } | undefined {
  for (const definition of definitions) {
    const ops = opsOf(definition);
    const found = [...ops].find(([, each]) => equals(OpSchema, each, op))?.[0];
    if (found === undefined) continue;
    const steps = stepsOf(definition);
    const step =
      steps.find(({ digest }) => digest === found) ??
      steps.find(
        ({ op: { op, inputs } }) => op.case === 'file' && inputs.some(({ digest }) => digest === found),
      );
    if (step !== undefined) return { definition, step };
  }
  return undefined;
}

/** What a step that writes files is given: the tree that it writes into, and the trees that it reads. */
export function inputsOfFiles(
  definition: Definition,
  { op, digest }: FoundStep,
): { base?: Input; read: Input[] } {
  const actions = op.op.case === 'file' ? op.op.value.actions : [];
  const at = (index: bigint | undefined) => (index === undefined ? undefined : op.inputs[Number(index)]);
  const read = [...new Set(actions.map(({ secondaryInput }) => at(secondaryInput)))];
  return {
    base: at(actions[0]?.input) ?? mergedOnto(definition, digest),
    read: read.filter((each) => each !== undefined),
  };
}

/** The tree that a layer is laid on, of a COPY --link: it is made by itself, and the first input of a merge. */
function mergedOnto(definition: Definition, layer: string): Input | undefined {
  for (const { op, inputs } of opsOf(definition).values()) {
    const [base] = inputs;
    if (op.case === 'merge' && base?.digest !== layer && inputs.some(({ digest }) => digest === layer))
      return base;
  }
  return undefined;
}

function opsOf(definition: Definition): Map<string, Op> {
  return new Map(definition.def.map((bytes) => [digestOf(bytes), fromBinary(OpSchema, bytes)]));
}

function stepsOf(definition: Definition): Step[] {
  const steps: Step[] = [];
  for (const [digest, op] of opsOf(definition)) {
    if (op.op.case !== 'exec' && op.op.case !== 'file') continue;
    const { description = {} } = definition.metadata[digest] ?? {};
    const args = op.op.case === 'exec' ? (op.op.value.meta?.args ?? []) : [];
    const name = description['llb.customname'] || args.join(' ');
    if (name.startsWith('[internal] ')) continue;
    const places = definition.Source?.locations[digest]?.locations ?? [];
    const isOf = (line: number) =>
      places.some(({ ranges }) =>
        ranges.some(({ start, end }) => (start?.line ?? 0) <= line && line <= (end?.line ?? 0)),
      );
    steps.push({ name, digest, op, isOf });
  }
  return steps;
}

function notFound(wanted: string, steps: readonly FoundStep[]): Error {
  const names = steps.map(({ name }) => name);
  const plain = names.map((name) => name.replace(/^\[[^\]]*\] /, ''));
  const near = nearest(wanted, plain);
  const hint =
    names.length === 0
      ? 'The build has no RUN and no COPY, or none that its target needs.'
      : near === undefined
        ? `Steps: ${names.slice(0, 20).join('; ')}`
        : `Did you mean ${JSON.stringify(near)}?`;
  return fail('not-found', 'client', `no step of this build is named by ${JSON.stringify(wanted)}`, { hint });
}

/** The definitions of a result: of several platforms, that of this machine's first. */
export function definitionsOf(result: Result | undefined): Definition[] {
  if (result?.result.case === 'ref') return [result.result.value.def].filter((each) => each !== undefined);
  if (result?.result.case !== 'refs') return [];
  const { os, architecture } = hostPlatform();
  const own = `${os}/${architecture}`;
  return Object.entries(result.result.value.refs)
    .sort(([a], [b]) => Number(b.startsWith(own)) - Number(a.startsWith(own)))
    .flatMap(([, { def }]) => def ?? []);
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
