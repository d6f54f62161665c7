/** The steps of a build as a provenance lists them: ops of LLB in JSON, inputs first, and their places in sources. Pure. */
import { maskUrls } from '../errors/index.ts';
import { fromBinary, locationsJson, OpSchema, opJson } from '../llb/index.ts';
import { type Digest, digestOf } from '../oci/index.ts';
import type { Definition, Op } from '../pb/solver/pb/ops_pb.js';
import type { StepUsage } from '../progress/index.ts';

interface Step {
  id: string;
  op: Record<string, unknown>;
  inputs: string[];
  resourceUsage?: StepUsage;
}

interface Steps {
  llbDefinition: Step[];
  /** Digest of an op → its step. */
  digestMapping: Record<string, string>;
}

/** Attributes that are about the client's session and do not change the result. */
const ofSession = ['local.session', 'local.unique', 'local.sharedkeyhint', 'oci.session'];

/**
 * Lists the ops that a definition's last op needs as steps, with secrets in URLs masked. `usage`: what the steps that ran
 * have used. The work is for `inTurns`.
 */
export function* stepsOf(
  { def }: Definition,
  usage: ReadonlyMap<Digest, StepUsage> = new Map(),
): Generator<void, Steps> {
  const ops = new Map<string, Op>();
  let last: string | undefined;
  for (const bytes of def) {
    yield;
    last = digestOf(bytes);
    ops.set(last, fromBinary(OpSchema, bytes));
  }
  const order = last === undefined ? [] : yield* inputsFirst(ops, last);
  const ids = new Map(order.map((digest, i) => [digest, `step${i}`]));
  const llbDefinition: Step[] = [];
  for (const digest of order) {
    yield;
    const op = ops.get(digest) as Op;
    if (op.op.case === 'source') for (const name of ofSession) delete op.op.value.attrs[name];
    llbDefinition.push({
      id: ids.get(digest) as string,
      op: maskedIn(opJson(op)),
      inputs: op.inputs.map((input) => `${ids.get(input.digest)}:${input.index}`),
      resourceUsage: usage.get(digest as Digest),
    });
  }
  return { llbDefinition, digestMapping: Object.fromEntries(ids) };
}

/** The vertices in an order in which inputs come first; nothing here recurses. */
function* inputsFirst(ops: ReadonlyMap<string, Op>, last: string): Generator<void, string[]> {
  const done = new Set<string>();
  const open = [{ digest: last, next: 0 }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    yield;
    const input = ops.get(top.digest)?.inputs[top.next++]?.digest;
    if (input === undefined) {
      done.add(top.digest);
      open.pop();
    } else if (!done.has(input) && ops.has(input)) open.push({ digest: input, next: 0 });
  }
  return [...done];
}

/** Gives the sources' texts and the place in them of each step; undefined when the frontend gave none. For `inTurns`. */
export function* sourceMapOf(
  { Source }: Definition,
  { digestMapping }: Steps,
): Generator<void, object | undefined> {
  if (Source === undefined || Source.infos.length === 0) return undefined;
  const locations: Record<string, object> = {};
  for (const [digest, places] of Object.entries(Source.locations)) {
    yield;
    const step = digestMapping[digest];
    if (step !== undefined) locations[step] = locationsJson(places);
  }
  const infos: object[] = [];
  for (const { filename, language, data, definition } of Source.infos) {
    yield;
    infos.push({
      filename,
      language: language || undefined,
      data: Buffer.from(maskUrls(Buffer.from(data).toString('utf8'))).toString('base64'),
      ...(definition === undefined || definition.def.length === 0 ? {} : yield* stepsOf(definition)),
    });
  }
  return { locations, infos };
}

/** Names the step and the output that a definition's last op names, as `step3:0`. */
export function outputStep({ def }: Definition, { digestMapping }: Steps): string | undefined {
  const last = def.at(-1);
  const input = last && fromBinary(OpSchema, last).inputs[0];
  return input && `${digestMapping[input.digest as Digest]}:${input.index}`;
}

/** Masks secrets in the URLs of all texts in a JSON object or list, in place: most of many ops have no URL. */
function maskedIn<T extends object>(value: T): T {
  const members = value as Record<string, unknown>;
  for (const name of Object.keys(members)) {
    const member = members[name];
    if (typeof member === 'string') {
      if (member.includes('://')) members[name] = maskUrls(member);
    } else if (typeof member === 'object' && member !== null) maskedIn(member);
  }
  return value;
}
