/**
 * Bills of materials of a build's results: attestations whose files a scanner makes, as a step of the build. A scanner
 * that is an image follows https://github.com/moby/buildkit/blob/master/docs/attestations/sbom-protocol.md
 */
import type { SbomOptions } from '../attest/index.ts';
import { fail } from '../errors/index.ts';
import { given, image, marshal, type RunMount, type State, scan, scratch } from '../llb/index.ts';
import { hostPlatform, type PullPolicy, resolveModeOf } from '../oci/index.ts';
import type { Attestation } from '../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import { fileName, sbomTypes } from '../sbom/index.ts';
import type { Bridge } from './bridge/bridge.ts';
import { frontendEpoch, namedRefs } from './bridge/platforms.ts';
import { attestationKinds, type BridgeAttestation, type BridgeResult } from './bridge/types.ts';
import { frontendHost } from './frontends/host.ts';

/** A result of a build, and the trees that are scanned with it. */
interface ScannedTree {
  /** The platform's name, for the step's name. */
  id: string;
  core: Definition | undefined;
  /** Further trees (a stage, the build context), by their names. */
  extras?: Readonly<Record<string, Definition>>;
  ignoreCache?: boolean;
  /** The date of the bill, in s since the epoch; default: when the scan is done. */
  epoch?: number;
}

/** The names of the trees are BuildKit's. */
const coreName = 'sbom';
const [sources, destination] = ['/run/src', '/run/out'];

/** Attestations are told from others by this part of their metadata. */
const text = (value: string) => new Uint8Array(Buffer.from(value));
const metadata = { reason: text('sbom'), 'sbom-core': text(coreName) };

/** Tells whether an attestation is a bill of materials that was asked for here. */
export function isScan({ message }: BridgeAttestation): boolean {
  return Buffer.from(message.metadata.reason ?? []).toString() === 'sbom';
}

/** Adds a bill of materials to each tree of a result, unless the frontend has given one. */
export async function withScans(
  bridge: Bridge,
  result: BridgeResult,
  options: SbomOptions,
): Promise<BridgeResult> {
  const types: readonly string[] = Object.values(sbomTypes);
  const known = Object.values(result.attestations ?? {}).flat();
  if (known.some(({ message }) => types.includes(message.inTotoPredicateType))) return result;
  const epoch = frontendEpoch(result);
  const scanned = namedRefs(result).flatMap(({ id, ref }) =>
    ref === undefined ? [] : [{ id, core: ref.definition, epoch }],
  );
  return withScansOf(bridge, result, scanned, options);
}

/** Adds a bill of materials of each of the given trees to a result. Nothing is scanned yet. */
export async function withScansOf(
  bridge: Bridge,
  result: BridgeResult,
  scanned: readonly ScannedTree[],
  options: SbomOptions,
  pull: PullPolicy = 'missing',
): Promise<BridgeResult> {
  const attestations: Record<string, BridgeAttestation[]> = { ...result.attestations };
  const scanner =
    options.generator === undefined ? undefined : await scannerImage(bridge, options.generator, pull);
  for (const tree of scanned) {
    const own =
      scanner === undefined ? builtIn(bridge, tree, options) : [byImage(bridge, tree, options, scanner)];
    attestations[tree.id] = [...(attestations[tree.id] ?? []), ...own];
  }
  return { ...result, attestations };
}

function builtIn(bridge: Bridge, tree: ScannedTree, { format }: SbomOptions): BridgeAttestation[] {
  const { id, core, extras = {}, ignoreCache, epoch } = tree;
  const targets = [
    { name: coreName, state: given(core) },
    ...Object.entries(extras).map(([name, definition]) => ({
      name: extraName(name),
      state: given(definition),
    })),
  ];
  const state = scan(targets, { format, created: epoch, ignoreCache, name: `[${id}] scanning for packages` });
  const ref = bridge.ref(marshal(state));
  return targets.map(({ name }) => ({
    message: messageOf(attestationKinds.inToto, sbomTypes[format], `/${fileName(name, format)}`),
    ref,
  }));
}

function messageOf(kind: number, inTotoPredicateType: string, path: string): Attestation {
  const $typeName = 'moby.buildkit.v1.frontend.Attestation';
  return { $typeName, kind, metadata, path, inTotoPredicateType, inTotoSubjects: [] };
}

/** The state of a scanner's image, and its command. */
interface Scanner {
  state: State;
  args: string[];
}

async function scannerImage(bridge: Bridge, generator: string, pull: PullPolicy): Promise<Scanner> {
  const { ref, config } = await frontendHost(bridge).resolveImage(generator, {
    platform: hostPlatform(),
    pull,
    logName: `[internal] load metadata for ${generator}`,
  });
  const { Entrypoint, Cmd } = config.config ?? {};
  const args = [...(Entrypoint ?? []), ...(Cmd ?? [])];
  if (args.length === 0) {
    throw fail('invalid', 'client', `sbom: the scanner ${generator} has no command`, {
      hint: "A scanner's image says with ENTRYPOINT or CMD what is to be run.",
    });
  }
  const state = image(ref, { platform: hostPlatform(), resolveMode: resolveModeOf(pull) });
  return { state: state.withImageConfig(config), args };
}

function byImage(
  bridge: Bridge,
  { id, core, extras = {}, ignoreCache }: ScannedTree,
  { generator, parameters }: SbomOptions,
  { state, args }: Scanner,
): BridgeAttestation {
  const source = `${sources}/core/${coreName}`;
  const read = (target: string, definition: Definition | undefined): RunMount => ({
    target,
    source: given(definition),
    readonly: true,
  });
  const further = Object.entries(extras);
  const env: Record<string, string> = {
    BUILDKIT_SCAN_DESTINATION: destination,
    BUILDKIT_SCAN_SOURCE: source,
    ...(further.length === 0 ? {} : { BUILDKIT_SCAN_SOURCE_EXTRAS: `${sources}/extras` }),
    ...Object.fromEntries(
      Object.entries(parameters).map(([name, value]) => [`BUILDKIT_SCAN_${name}`, value]),
    ),
  };
  const run = state.run(args, {
    env,
    ignoreCache,
    name: `[${id}] generating sbom using ${generator}`,
    mounts: [
      { type: 'tmpfs', target: '/tmp' },
      read(source, core),
      ...further.map(([name, definition]) => read(`${sources}/extras/${extraName(name)}`, definition)),
      { target: destination, source: scratch() },
    ],
  });
  return {
    message: messageOf(attestationKinds.bundle, sbomTypes.spdx, ''),
    ref: bridge.ref(marshal(run.mountOutput(destination))),
  };
}

function extraName(name: string): string {
  return `${coreName}-${name}`;
}
