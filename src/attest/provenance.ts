/**
 * The provenance of a build's result: SLSA's predicate, v1 (https://slsa.dev/spec/v1.1/provenance) or v0.2
 * (https://slsa.dev/spec/v0.2/provenance), filled as BuildKit fills it
 * (https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md). Pure.
 */
import { fail } from '../errors/index.ts';
import type { Descriptor } from '../oci/index.ts';
import type { MachineSample } from '../progress/index.ts';
import { dockerfileVersion } from '../version.ts';
import { inTurns } from '../workers/index.ts';
import { type Material, materialsOf } from './materials.ts';
import { type RequestFacts, requestOf } from './request.ts';
import { outputStep, sourceMapOf, stepsOf } from './steps.ts';
import type { Attestation, BuildFacts, ProvenanceOptions } from './types.ts';

const predicateTypes = {
  v1: 'https://slsa.dev/provenance/v1',
  'v0.2': 'https://slsa.dev/provenance/v0.2',
} as const;
const buildTypes = {
  v1: 'https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md',
  'v0.2': 'https://mobyproject.org/buildkit@v1',
} as const;

/**
 * Makes the provenance of a result. Throws `invalid`, with the names of the client's folders, when the options demand
 * complete sources and some have no digest.
 */
export function provenance(facts: BuildFacts, options: ProvenanceOptions): Attestation {
  const known = knownOf(facts, options);
  if (options.completeMaterials && !known.isComplete) throw incomplete(facts);
  let details: Promise<Details> | undefined;
  return {
    predicateType: predicateTypes[options.version],
    filename: options.filename,
    inlineOnly: options.inlineOnly,
    async predicate(image) {
      details ??= inTurns(detailsOf(facts, options));
      return (options.version === 'v1' ? v1 : v02)(known, withLayers(await details, image?.layers));
    },
  };
}

/** The properties that both versions have. */
interface Known extends Omit<RequestFacts, 'isComplete'> {
  builder: { id: string };
  platform: string;
  /** The version of the Dockerfile language; undefined for another frontend. */
  dockerfileVersion: string | undefined;
  environment: Readonly<Record<string, unknown>>;
  materials: Material[];
  invocationId: string;
  startedOn: string;
  finishedOn: string;
  hasRequest: boolean;
  /** Tells whether all sources have digests. */
  isComplete: boolean;
  isHermetic: boolean;
  isReproducible: boolean;
  /** How the steps' network was looked into; undefined: it was not. */
  network: object | undefined;
}

function knownOf(facts: BuildFacts, options: ProvenanceOptions): Known {
  const { isComplete: hasRequest, ...request } = requestOf(facts, options.mode);
  const isComplete =
    !facts.isOpaque &&
    !facts.sources.some(({ kind }) => kind === 'local') &&
    (facts.proxy?.incomplete.length ?? 0) === 0;
  return {
    ...request,
    builder: { id: options.builderId },
    platform: facts.builderPlatform,
    dockerfileVersion: facts.frontend === 'dockerfile.v0' ? dockerfileVersion : undefined,
    environment: facts.environment ?? {},
    materials: withProxied(materialsOf(facts), facts.proxy),
    network: facts.proxy && networkOf(facts.proxy),
    invocationId: facts.invocationId,
    startedOn: new Date(facts.startedAt).toISOString(),
    finishedOn: new Date(facts.finishedAt).toISOString(),
    hasRequest,
    isComplete,
    isHermetic: isComplete && !facts.usesNetwork,
    isReproducible: options.reproducible,
  };
}

/** The properties that only `max` has, and what the machine did. */
interface Details {
  sysUsage?: readonly MachineSample[];
  buildConfig?: object;
  source?: object;
  layers?: Record<string, Pick<Descriptor, 'mediaType' | 'digest' | 'size'>[][]>;
  /** The result as a step and its output, `step3:0`. */
  output?: string;
}

function* detailsOf(
  { definition, imageLayers, usage }: BuildFacts,
  { mode, captureUsage }: ProvenanceOptions,
): Generator<void, Details> {
  // As BuildKit has it: the machine's part goes with either mode.
  const sysUsage = captureUsage ? usage?.machine : undefined;
  if (mode === 'min' || definition === undefined || definition.def.length === 0) return { sysUsage };
  const steps = yield* stepsOf(definition, captureUsage ? usage?.steps : undefined);
  const found: Details['layers'] = {};
  for (const [vertex, list] of imageLayers) {
    const step = steps.digestMapping[vertex];
    if (step !== undefined) found[`${step}:0`] = [list.map(plain)];
  }
  const source = yield* sourceMapOf(definition, steps);
  return { buildConfig: steps, source, layers: found, output: outputStep(definition, steps), sysUsage };
}

function withLayers(details: Details, result: readonly Descriptor[] | undefined): Details {
  const { output } = details;
  const own = output === undefined || result === undefined ? {} : { [output]: [result.map(plain)] };
  const layers = { ...details.layers, ...own };
  return { ...details, layers: Object.keys(layers).length === 0 ? undefined : layers };
}

const plain = ({ mediaType, digest, size }: Descriptor) => ({ mediaType, digest, size });

/** What steps got by their proxies is material like a source of http. */
function withProxied(materials: Material[], proxy: BuildFacts['proxy']): Material[] {
  const added = (proxy?.materials ?? []).map(({ uri, digest }) => ({
    uri,
    digest: { sha256: digest.replace(/^sha256:/, '') },
  }));
  const known = new Set(materials.map(({ uri }) => uri));
  return [...materials, ...added.filter(({ uri }) => !known.has(uri))];
}

function networkOf({ incomplete }: NonNullable<BuildFacts['proxy']>): object {
  return { mode: 'proxy', ...(incomplete.length === 0 ? {} : { proxy: { incomplete } }) };
}

function metadataOf({ vcs, network }: Known, { source, layers, sysUsage }: Details): object {
  return { vcs: Object.keys(vcs).length === 0 ? undefined : vcs, source, layers, sysUsage, network };
}

function v1(known: Known, details: Details): object {
  const { configSource, request, platform, builder } = known;
  return {
    buildDefinition: {
      buildType: buildTypes.v1,
      externalParameters: { configSource, request },
      internalParameters: {
        ...known.environment,
        buildConfig: details.buildConfig,
        builderPlatform: platform,
        dockerfileVersion: known.dockerfileVersion,
      },
      resolvedDependencies: known.materials.length === 0 ? undefined : known.materials,
    },
    runDetails: {
      builder,
      metadata: {
        invocationId: known.invocationId,
        startedOn: known.startedOn,
        finishedOn: known.finishedOn,
        buildkit_metadata: metadataOf(known, details),
        buildkit_hermetic: known.isHermetic || undefined,
        buildkit_completeness: { request: known.hasRequest, resolvedDependencies: known.isComplete },
        buildkit_reproducible: known.isReproducible || undefined,
      },
    },
  };
}

function v02(known: Known, details: Details): object {
  const { path: entryPoint, ...configSource } = known.configSource;
  return {
    builder: known.builder,
    buildType: buildTypes['v0.2'],
    materials: known.materials.length === 0 ? undefined : known.materials,
    invocation: {
      configSource: { ...configSource, entryPoint },
      parameters: known.request,
      environment: {
        ...known.environment,
        platform: known.platform,
        dockerfileVersion: known.dockerfileVersion,
      },
    },
    buildConfig: details.buildConfig,
    metadata: {
      buildInvocationID: known.invocationId,
      buildStartedOn: known.startedOn,
      buildFinishedOn: known.finishedOn,
      completeness: { parameters: known.hasRequest, environment: true, materials: known.isComplete },
      reproducible: known.isReproducible,
      'https://mobyproject.org/buildkit@v1#hermetic': known.isHermetic || undefined,
      'https://mobyproject.org/buildkit@v1#metadata': metadataOf(known, details),
    },
  };
}

function incomplete({ sources }: BuildFacts): Error {
  const names = [...new Set(sources.flatMap((used) => (used.kind === 'local' ? [used.name] : [])))].sort();
  const why =
    names.length === 0 ? 'a step builds a graph of its own' : `folders of the client: ${names.join(', ')}`;
  return fail('invalid', 'client', `the materials of the provenance are not complete: ${why}`, {
    hint: 'Build from a git repository, or leave complete-materials out.',
  });
}
