/** Turns a wire Definition into a checked graph of vertices. Definitions may be hostile: nothing here recurses. */

import {
  clip,
  DrydockError,
  fail,
  maskUrls,
  printable,
  type SourceLocation,
  type Stopping,
} from '../errors/index.ts';
import { nameOf } from '../linux/index.ts';
import { type Digest, digestOf, maxLayers } from '../oci/index.ts';
import type { Definition, ExecOp, Location, Op, Source, SourceOp } from '../pb/solver/pb/ops_pb.js';
import { atOnce, inTurns } from '../workers/index.ts';
import { definitionJson } from './definition-json.ts';
import { opName } from './names.ts';
import { bytesExcess, opExcess } from './op-size.ts';
import { fromBinary, NetMode, OpSchema, toBinary } from './pb.ts';
import type { SourceRewrite } from './source-policy.ts';
import type { Edge, Vertex } from './vertex.ts';

/** The largest number of ops in a definition. */
const maxVertices = 100_000;
/** The longest name of a vertex in characters; every event repeats it. */
const maxName = 8192;

/** A definition as linked vertices. */
export interface Graph {
  /** All vertices; inputs come before their users. */
  vertices: Vertex[];
  /** The output of the definition; undefined for an empty definition (scratch). */
  output: Edge | undefined;
}

/** A vertex's name as it is told, in progress, errors and records: on one line, and without passwords in its URLs. */
function shownName(name: string): string {
  return clip(printable(maskUrls(name)), maxName);
}

interface Draft {
  digest: Digest;
  /** The digest by which the client knows the op, when its sources were rewritten. */
  was: Digest;
  op: Op;
  /** The number of inputs not yet visited. */
  waiting: number;
}

/**
 * Parses, checks and links a definition. Every op but the last is a vertex; the last only names the output. `rewrite`
 * may replace sources; the ops that are built on replaced ones get other digests. Throws the errors of `rewrite`, and
 * `invalid` (hop `llb`) on an op that cannot be decoded, an unknown input digest, a cycle, a bad output index, too many
 * ops or too much in one op.
 */
export function loadGraph(definition: Definition, rewrite?: SourceRewrite): Graph {
  return atOnce(graphOf(definition, rewrite));
}

/** Puts other devices in the place of those that a step asks for. Returns the same list when nothing changes. */
export type DeviceRewrite = (devices: ExecOp['cdiDevices']) => ExecOp['cdiDevices'];

interface LoadOptions {
  rewrite?: SourceRewrite;
  devices?: DeviceRewrite;
  /** Has all steps with a network go by the proxy. They are other steps then, with digests and records of their own. */
  proxied?: boolean;
  signal?: Stopping;
}

/** The network modes of steps that go by the proxy. They are ours: no definition of a client may have them. */
export const ProxyMode = { default: 64, host: 65 } as const;

/** Whether a step's network is a proxy. */
export function isProxied(network: number): boolean {
  return network === ProxyMode.default || network === ProxyMode.host;
}

/**
 * Does the same on the main thread for definitions of any size, with turns for other work between. `devices` may replace
 * the devices that steps ask for, as `rewrite` does with sources.
 */
export function loadGraphInTurns(
  definition: Definition,
  { rewrite, devices, proxied, signal }: LoadOptions = {},
): Promise<Graph> {
  return inTurns(graphOf(definition, rewrite, devices, proxied), signal);
}

function* graphOf(
  definition: Definition,
  rewrite?: SourceRewrite,
  devices?: DeviceRewrite,
  proxied = false,
): Generator<void, Graph> {
  const defs = definition.def;
  if (defs.length === 0) return { vertices: [], output: undefined };
  if (defs.length > maxVertices) {
    throw fail('invalid', 'llb', `the definition has ${defs.length} ops, more than ${maxVertices}`);
  }
  const drafts = new Map<string, Draft>();
  let last: Draft | undefined;
  for (const bytes of defs) {
    yield;
    // A small op cannot hold too much.
    const excess = bytes.length < 16_000 ? undefined : bytesExcess(bytes);
    if (excess !== undefined) throw fail('invalid', 'llb', `an op has ${excess}`);
    const digest = digestOf(bytes);
    last = { digest, was: digest, op: decodeOp(bytes), waiting: 0 };
    refuseOwnModes(last.op);
    drafts.set(digest, last);
  }
  if (last === undefined) return { vertices: [], output: undefined };
  const order = yield* topologicalOrder(drafts);
  const locations = new LocationTable(definition.Source);
  if (rewrite !== undefined || devices !== undefined || proxied) {
    yield* rewriteAll(order, { rewrite, devices, proxied }, locations);
  }
  const vertices = new Map<string, Vertex>();
  const edge = (input: { digest: string; index: bigint }): Edge => {
    const vertex = vertices.get(input.digest);
    if (vertex === undefined) throw fail('invalid', 'llb', `invalid missing input digest ${input.digest}`);
    const index = Number(input.index);
    if (index < 0 || index > 1_000_000) throw fail('invalid', 'llb', `invalid output index ${index}`);
    return { vertex, index };
  };
  const heights = new Map<Vertex, number>();
  for (const draft of order) {
    yield;
    if (draft === last && draft.op.op.case === undefined) continue;
    // Sources that were rewritten to the same one become one vertex, and so do equal ops built on them.
    if (vertices.has(draft.digest)) continue;
    const metadata = definition.metadata[draft.was];
    const vertex: Vertex = {
      digest: draft.digest,
      op: draft.op,
      inputs: draft.op.inputs.map(edge),
      metadata,
      name: shownName(metadata?.description['llb.customname'] || opName(draft.op)),
      source: locations.of(draft.was),
    };
    vertices.set(draft.digest, vertex);
    const excess = opExcess(vertex.op);
    if (excess !== undefined) throw ofVertex(fail('invalid', 'llb', `a step has ${excess}`), vertex);
    const height = heightOf(vertex, heights);
    if (height > maxLayers) throw tooHigh(vertex);
    heights.set(vertex, height);
  }
  const list = [...vertices.values()];
  if (last.op.op.case !== undefined) {
    // This list of ops has no closing op: the last op is itself the output.
    const vertex = vertices.get(last.digest);
    return { vertices: list, output: vertex && { vertex, index: 0 } };
  }
  const target = last.op.inputs[0];
  if (target === undefined) return { vertices: list, output: undefined };
  return { vertices: list, output: edge(target) };
}

/** The least number of layers of a vertex's tree: each step and file op puts one on top of its base. */
function heightOf({ op, inputs }: Vertex, heights: ReadonlyMap<Vertex, number>): number {
  const value = op.op;
  let base: number | undefined;
  if (value.case === 'file') base = Number(value.value.actions[0]?.input ?? -1n);
  else if (value.case === 'exec')
    base = Number(value.value.mounts.find(({ dest }) => dest === '/')?.input ?? -1n);
  const below = base === undefined ? undefined : inputs[base];
  return base === undefined ? 0 : 1 + (below === undefined ? 0 : (heights.get(below.vertex) ?? 0));
}

function ofVertex(error: DrydockError, { name, digest, source }: Vertex): DrydockError {
  return Object.assign(error, { step: name, vertex: digest, source });
}

function tooHigh(vertex: Vertex): DrydockError {
  const error = fail(
    'exhausted',
    'llb',
    `more than ${maxLayers} steps on top of each other cannot be stacked`,
    {
      hint: 'Join steps, or start a new stage and COPY --from the old one.',
    },
  );
  return ofVertex(error, vertex);
}

/** Rewrites the sources and devices, and the inputs of all ops that are built on them. `order` has inputs before their users. */
function* rewriteAll(
  order: readonly Draft[],
  { rewrite, devices, proxied }: Pick<LoadOptions, 'rewrite' | 'devices' | 'proxied'>,
  locations: LocationTable,
): Generator<void, void> {
  const renamed = new Map<string, Digest>();
  for (const draft of order) {
    yield;
    let { op } = draft;
    if (op.op.case === 'source' && rewrite !== undefined) {
      const source = rewriteOne(op.op.value, rewrite, locations.of(draft.was));
      if (source !== op.op.value) op = { ...op, op: { case: 'source', value: source } };
    }
    if (op.op.case === 'exec' && devices !== undefined && op.op.value.cdiDevices.length > 0) {
      const cdiDevices = devices(op.op.value.cdiDevices);
      if (cdiDevices !== op.op.value.cdiDevices) {
        op = { ...op, op: { case: 'exec', value: { ...op.op.value, cdiDevices } } };
      }
    }
    if (op.op.case === 'exec' && proxied === true) {
      const network = proxiedMode(op.op.value.network);
      if (network !== undefined) op = { ...op, op: { case: 'exec', value: { ...op.op.value, network } } };
    }
    if (op.inputs.some(({ digest }) => renamed.has(digest))) {
      const inputs = op.inputs.map((input) => ({
        ...input,
        digest: renamed.get(input.digest) ?? input.digest,
      }));
      op = { ...op, inputs };
    }
    if (op === draft.op) continue;
    draft.op = op;
    draft.digest = digestOf(toBinary(OpSchema, op));
    renamed.set(draft.was, draft.digest);
  }
}

function proxiedMode(network: number): ExecOp['network'] | undefined {
  if (network === NetMode.UNSET) return ProxyMode.default as ExecOp['network'];
  return network === NetMode.HOST ? (ProxyMode.host as ExecOp['network']) : undefined;
}

function refuseOwnModes({ op }: Op): void {
  if (op.case !== 'exec' || !isProxied(op.value.network)) return;
  throw fail('invalid', 'llb', `unknown network mode ${op.value.network}`);
}

function rewriteOne(
  source: SourceOp,
  rewrite: SourceRewrite,
  location: SourceLocation | undefined,
): SourceOp {
  try {
    return rewrite(source);
  } catch (err) {
    if (err instanceof DrydockError) err.source ??= location;
    throw err;
  }
}

function decodeOp(bytes: Uint8Array): Op {
  try {
    return fromBinary(OpSchema, bytes);
  } catch (cause) {
    throw new DrydockError('failed to parse llb proto op', { code: 'invalid', hop: 'llb', cause });
  }
}

/** Sorts ops by Kahn's algorithm: ops that are left over when none is free lie on a cycle. */
function* topologicalOrder(drafts: Map<string, Draft>): Generator<void, Draft[]> {
  const users = new Map<string, Draft[]>();
  for (const draft of drafts.values()) {
    yield;
    for (const input of draft.op.inputs) {
      if (!drafts.has(input.digest)) {
        throw fail('invalid', 'llb', `invalid missing input digest ${input.digest || '(empty)'}`);
      }
      draft.waiting++;
      const list = users.get(input.digest);
      if (list === undefined) users.set(input.digest, [draft]);
      else list.push(draft);
    }
  }
  const order = [...drafts.values()].filter((draft) => draft.waiting === 0);
  for (let i = 0; i < order.length; i++) {
    yield;
    const done = order[i];
    for (const user of (done && users.get(done.digest)) ?? []) {
      if (--user.waiting === 0) order.push(user);
    }
  }
  if (order.length < drafts.size) throw fail('invalid', 'llb', 'the definition has a cycle');
  return order;
}

/** The most places of one op, and ranges of one place, that are read: an error tells as many at most. */
const [maxPlaces, maxRanges] = [16, 1000];

/** The source locations of vertices, decoded on demand. */
class LocationTable {
  readonly #source: Source | undefined;
  readonly #texts: string[];
  /** Decoded definitions by source: many ops come from one. */
  readonly #definitions = new Map<number, object>();

  constructor(source: Source | undefined) {
    this.#source = source;
    this.#texts = source?.infos.map((info) => nameOf(Buffer.from(info.data))) ?? [];
  }

  /** The first location of an op, with the others it has. */
  of(digest: string): SourceLocation | undefined {
    const [first, ...also] = (this.#source?.locations[digest]?.locations ?? [])
      .slice(0, maxPlaces)
      .map((location) => this.#place(location))
      .filter((place) => place !== undefined);
    return first === undefined || also.length === 0 ? first : { ...first, also };
  }

  #place({ sourceIndex, ranges }: Location): SourceLocation | undefined {
    const info = this.#source?.infos[sourceIndex];
    const text = this.#texts[sourceIndex];
    if (info === undefined || text === undefined) return undefined;
    return {
      filename: info.filename,
      text,
      ranges: ranges.slice(0, maxRanges).map(({ start, end }) => ({
        start: { line: start?.line ?? 0, character: start?.character ?? 0 },
        end: { line: end?.line ?? start?.line ?? 0, character: end?.character ?? 0 },
      })),
      ...(info.language === '' ? {} : { language: info.language }),
      ...(info.definition === undefined
        ? {}
        : { definition: this.#definition(sourceIndex, info.definition) }),
    };
  }

  #definition(sourceIndex: number, definition: Definition): object {
    let json = this.#definitions.get(sourceIndex);
    if (json === undefined) {
      json = definitionJson(definition);
      this.#definitions.set(sourceIndex, json);
    }
    return json;
  }
}
