/** The provenances of a build's results, made from the solved graphs. */
import {
  type AskedFacts,
  type Attestation,
  type BuildFacts,
  type ProvenanceOptions,
  parseProvenance,
  provenance,
} from '../attest/index.ts';
import { type Graph, isProxied, MountType, NetMode, type Vertex } from '../llb/index.ts';
import { type Descriptor, type Digest, formatPlatform, hostPlatform } from '../oci/index.ts';
import type { NetworkUse } from '../progress/index.ts';
import type { SourceInUse } from '../solver/index.ts';
import type { Bridge } from './bridge/bridge.ts';
import { platformRefs } from './bridge/platforms.ts';
import type { BridgeRef } from './bridge/ref.ts';
import type { Asked, BridgeResult } from './bridge/types.ts';
import type { BuildRequest } from './types.ts';
import type { BuildUsage } from './usage-log.ts';

/** The largest definition, in ops, whose steps are in the record of a build. */
const maxRecordedOps = 2000;
/** How many requests are told for the trees that were handed to a result's frontend. */
const maxProducers = 50;

/** The provenances of one tree of a result. */
interface TreeProvenance {
  /** As the client asked for it; undefined when it did not. */
  asked: Attestation | undefined;
  /** The provenance for the record of the build; undefined when there is no record. */
  recorded: Attestation | undefined;
}

/** What is known of a build's course. */
interface BuildCourse {
  /** ms since the epoch */
  startedAt: number;
  /** What the build has used of the machine, where that was recorded. */
  usage: BuildUsage | undefined;
  /** What steps asked for by their proxies, by their vertices; undefined: the build has no proxies. */
  reached: ReadonlyMap<Digest, NetworkUse> | undefined;
}

/**
 * Makes the provenances of each tree of a result, in the order of the trees, once they are solved. `startedAt`: ms since
 * the epoch. `usage`: what the build has used of the machine, where that was recorded. Rejects with `invalid` when all sources are to have digests and one has none.
 */
export async function provenances(
  bridge: Bridge,
  result: BridgeResult,
  { provenance: options, recorded }: Pick<BuildRequest, 'provenance' | 'recorded'>,
  { startedAt, usage, reached }: BuildCourse,
): Promise<TreeProvenance[]> {
  const { engine, job } = bridge;
  const finishedAt = Date.now();
  const refs = platformRefs(result);
  const used = await engine.solver.sources(job);
  const root = bridge.root && (await factsOf(bridge.root, { left: maxProducers }));
  const graphs = await Promise.all(refs.map(async (ref) => reachable(await ref?.graph())));
  const inResults = new Set(graphs.flat().map(({ digest }) => digest));
  return Promise.all(
    refs.map(async (ref, i) => {
      const vertices = graphs[i] ?? [];
      const own = new Set(vertices.map(({ digest }) => digest));
      // What is in no result a frontend has read, or a step has brought.
      const sources = used.filter(({ vertex }) => own.has(vertex) || !inResults.has(vertex));
      const asked = await askedOf(bridge, ref);
      const facts: BuildFacts = {
        ...asked,
        root,
        ...stepFacts(vertices),
        proxy: reached && proxyFacts(vertices, reached),
        invocationId: job.id,
        startedAt,
        finishedAt,
        builderPlatform: formatPlatform(hostPlatform()),
        environment: engine.provenanceEnv,
        sources: sources.map((source) => source.used),
        offered: [...bridge.offered],
        isResolved: (name, digest) => job.pins.toldOf(`docker-image://${name}`).split(' ').includes(digest),
        definition: ref?.definition,
        imageLayers: imageLayers(sources),
        usage,
      };
      return {
        asked: options && provenance(facts, options),
        recorded: recorded ? provenance(facts, recordOptions(options, vertices.length)) : undefined,
      };
    }),
  );
}

/** Records have `mode=max` whatever the client asked for, as BuildKit's have: their readers see only their own builds. */
function recordOptions(asked: ProvenanceOptions | undefined, ops: number): ProvenanceOptions {
  const mode = ops > maxRecordedOps ? 'min' : 'max';
  const base = asked ?? parseProvenance('');
  return { ...base, mode, version: 'v1', completeMaterials: false, captureUsage: true };
}

async function askedOf(bridge: Bridge, ref: BridgeRef | undefined): Promise<AskedFacts> {
  const asked = bridge.askedFor(ref);
  return asked === undefined ? { frontend: '', options: {} } : factsOf(asked, { left: maxProducers });
}

/** Describes a request with those for the trees that were handed to it. Of many, not all are told. */
async function factsOf({ frontend, options, inputs }: Asked, count: { left: number }): Promise<AskedFacts> {
  const described: Record<string, AskedFacts> = {};
  for (const [name, producer] of Object.entries(inputs ?? {})) {
    if (count.left-- <= 0) break;
    described[name] = await factsOf(producer, count);
  }
  const some = Object.keys(described).length > 0;
  return { frontend, options: await options(), ...(some ? { inputs: described } : {}) };
}

/** Lists the vertices that the graph's output needs; a definition may hold others. */
function reachable(graph: Graph | undefined): Vertex[] {
  const found = new Set<Vertex>();
  const open = graph?.output === undefined ? [] : [graph.output.vertex];
  for (let vertex = open.pop(); vertex !== undefined; vertex = open.pop()) {
    if (found.has(vertex)) continue;
    found.add(vertex);
    open.push(...vertex.inputs.map((input) => input.vertex));
  }
  return [...found];
}

/** Collects what the steps of a result asked for by their proxies, and what is not known of it. */
function proxyFacts(
  vertices: readonly Vertex[],
  reached: ReadonlyMap<Digest, NetworkUse>,
): NonNullable<BuildFacts['proxy']> {
  const materials = new Map<string, Set<string>>();
  const incomplete: NonNullable<BuildFacts['proxy']>['incomplete'][number][] = [];
  for (const { op, digest } of vertices) {
    if (op.op.case !== 'exec' || !isProxied(op.op.value.network)) continue;
    const step = { op: digest, name: op.op.value.meta?.args.join(' ') ?? '' };
    const use = reached.get(digest);
    // It was in a cache from elsewhere, which does not say what it once asked for.
    if (use === undefined) incomplete.push({ ...step, reason: 'cached' });
    for (const { url, digest: content } of use?.materials ?? []) {
      materials.set(url, (materials.get(url) ?? new Set()).add(content));
    }
    for (const { method, url: uri, reason } of use?.incomplete ?? []) {
      incomplete.push({ ...step, method, uri, reason });
    }
  }
  return {
    materials: [...materials].flatMap(([uri, digests]) => [...digests].map((digest) => ({ uri, digest }))),
    incomplete,
  };
}

/** Collects the secrets, agents and networks that steps ask for. */
function stepFacts(
  vertices: readonly Vertex[],
): Pick<BuildFacts, 'secrets' | 'ssh' | 'usesNetwork' | 'isOpaque'> {
  const secrets: BuildFacts['secrets'][number][] = [];
  const ssh: typeof secrets = [];
  let usesNetwork = false;
  let isOpaque = false;
  for (const { op } of vertices) {
    if (op.op.case === 'build') isOpaque = true;
    if (op.op.case !== 'exec') continue;
    const { mounts, secretenv, network } = op.op.value;
    if (network !== NetMode.NONE && !isProxied(network)) usesNetwork = true;
    for (const { mountType, secretOpt, SSHOpt } of mounts) {
      if (mountType === MountType.SECRET) {
        secrets.push({ id: secretOpt?.ID ?? '', optional: secretOpt?.optional ?? false });
      } else if (mountType === MountType.SSH) {
        ssh.push({ id: SSHOpt?.ID || 'default', optional: SSHOpt?.optional ?? false });
      }
    }
    for (const { ID: id, optional } of secretenv) secrets.push({ id, optional });
  }
  // What a graph within a step does is not seen from here.
  return { secrets, ssh, usesNetwork: usesNetwork || isOpaque, isOpaque };
}

function imageLayers(sources: readonly SourceInUse[]): ReadonlyMap<Digest, readonly Descriptor[]> {
  const images = sources.filter(({ layers }) => layers.length > 0);
  return new Map(images.map(({ vertex, layers }) => [vertex, layers.map(({ blob }) => blob)]));
}
