/** The attestations that a build's frontend has returned, read from their trees. */
import {
  type Attestation,
  readPredicate,
  type SbomOptions,
  type StatedImage,
  type StatedSubject,
} from '../attest/index.ts';
import { fail, prefixed } from '../errors/index.ts';
import { cleanPath, openView, statFollow, type ViewSpec } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import type { InTotoSubject } from '../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { sbomTypes } from '../sbom/index.ts';
import { version } from '../version.ts';
import { runTask } from '../workers/index.ts';
import type { Bridge } from './bridge/bridge.ts';
import { namedRefs } from './bridge/platforms.ts';
import { attestationKinds, type BridgeAttestation, type BridgeResult, subjectKinds } from './bridge/types.ts';
import { bundled } from './bundle.ts';
import { isScan } from './scan.ts';

/** The largest predicate, in bytes, that the main thread reads itself, in some milliseconds: a thread starts in more. */
const maxHere = 512 << 10;
const provenancePrefix = 'https://slsa.dev/provenance/';

/** The attestations of a result's trees, in the order of the trees. */
interface Returned {
  attestations: Attestation[][];
  /** Names of trees that the result does not have, although there are attestations for them. */
  lost: string[];
}

/**
 * Solves the trees of the attestations and reads the bundles among them; bills of materials come first. Rejects with
 * the errors of solving, with `unavailable` when a scanner's image takes too long, and with `invalid` for an attestation
 * that has no path or no tree, is a provenance, or whose bundle has anything but statements of its type.
 */
export async function returnedAttestations(
  bridge: Bridge,
  result: BridgeResult,
  sbom: SbomOptions | undefined,
): Promise<Returned> {
  const names = namedRefs(result).map(({ id }) => id);
  const given = result.attestations ?? {};
  const attestations = await Promise.all(
    names.map(async (name) => {
      const list = Object.hasOwn(given, name) ? (given[name] ?? []) : [];
      const read = await Promise.all(list.map((each) => attestationsIn(bridge, each, sbom)));
      return coreFirst(read.flat()).map(({ attestation }) => attestation);
    }),
  );
  return { attestations, lost: Object.keys(given).filter((name) => !names.includes(name)) };
}

function nameOf(given: BridgeAttestation, sbom: SbomOptions | undefined): string {
  if (!isScan(given)) return "the frontend's attestations";
  return sbom?.generator === undefined ? 'sbom' : `sbom of the scanner ${sbom.generator}`;
}

/** An attestation, and whether it is about the result itself and not about one of the stages. */
interface Read {
  attestation: Attestation;
  isCore: boolean;
}

function coreFirst(all: readonly Read[]): Read[] {
  return [...all.filter(({ isCore }) => isCore), ...all.filter(({ isCore }) => !isCore)];
}

async function attestationsIn(
  bridge: Bridge,
  given: BridgeAttestation,
  sbom: SbomOptions | undefined,
): Promise<Read[]> {
  const { message, ref } = given;
  const { kind, path, inTotoPredicateType: predicateType } = message;
  if (kind === attestationKinds.inToto && path === '') throw invalid('an attestation does not have set path');
  if (ref === undefined) throw invalid('an attestation does not have available content');
  if (predicateType.startsWith(provenancePrefix))
    throw invalid('a frontend may not set provenance attestations');
  const limit = isScan(given) && sbom?.generator !== undefined ? sbom.timeoutMs : undefined;
  const tree = await within(limit, ref.result(), nameOf(given, sbom));
  const { lease, job, engine } = bridge;
  const spec = await tree.view({
    lease,
    signal: job.signal,
    credentials: (host) => job.session.credentials(host),
    mayBeLazy: job.session.tenant === undefined,
    offline: job.session.offline,
  });
  const core = Buffer.from(message.metadata['sbom-core'] ?? []).toString();
  const inlineOnly = Buffer.from(message.metadata['inline-only'] ?? []).toString() === 'true';
  const form = tree.serialize();
  const made = (
    filename: string,
    from: From,
    rest: Pick<Attestation, 'predicateType' | 'subjects' | 'madeOf'>,
  ): Read => {
    const isCore = core !== '' && filename.split('.', 1)[0] === core;
    const hasLayers = isCore && rest.predicateType === sbomTypes.spdx;
    const predicate = (image?: StatedImage) =>
      predicateOf(bridge, filename, from, hasLayers ? image : undefined);
    return { attestation: { filename, inlineOnly, predicate, ...rest }, isCore };
  };
  if (kind === attestationKinds.inToto) {
    const filename = path.slice(path.lastIndexOf('/') + 1);
    const subjects = message.inTotoSubjects.map(subjectOf);
    const madeOf = form?.kind === 'snapshot' ? { snapshot: form.key, path } : undefined;
    return [made(filename, { spec, path }, { predicateType, subjects, madeOf })];
  }
  const snapshot = form?.kind === 'snapshot' ? form.key : undefined;
  const place = { spec, path: `/${path}`, predicateType, snapshot };
  const statements = await bundled(engine.store, place, job.signal).catch((err) => {
    throw prefixed(err, nameOf(given, sbom));
  });
  if (statements.length === 0 && isScan(given)) {
    throw fail('invalid', 'export', `${nameOf(given, sbom)}: it has written nothing`, {
      hint: 'A scanner writes its bill into the folder $BUILDKIT_SCAN_DESTINATION.',
    });
  }
  return statements.map(({ filename, predicate, predicateType: type, subjects }) => {
    if (type.startsWith(provenancePrefix)) throw invalid('a frontend may not bundle provenance attestations');
    const madeOf = snapshot === undefined ? undefined : { snapshot, path: `${path}/${filename}` };
    return made(filename, { predicate }, { predicateType: type, subjects, madeOf });
  });
}

type From = { spec: ViewSpec; path: string } | { predicate(): Promise<Uint8Array> };

async function predicateOf(
  { job: { signal } }: Bridge,
  filename: string,
  from: From,
  image: StatedImage | undefined,
): Promise<Buffer> {
  const spec = await image?.view?.();
  const digests = image?.layers.map(({ digest }) => digest) ?? [];
  const layers = spec === undefined ? undefined : { spec, digests, tool: `drydock-${version}` };
  // What was read from a bundle is JSON already.
  if ('predicate' in from && layers === undefined) return Buffer.from(await from.predicate());
  try {
    const isSmall = !('predicate' in from) && sizeOf(from) <= maxHere;
    const args = { from: 'predicate' in from ? { bytes: await from.predicate() } : from, layers };
    const read = isSmall ? readPredicate(args, signal) : await runTask('attest.predicate', args, { signal });
    return Buffer.from(read);
  } catch (err) {
    throw prefixed(err, `attestation ${filename}`);
  }
}

function sizeOf({ spec, path }: { spec: ViewSpec; path: string }): number {
  return statFollow(openView(spec), cleanPath(path))?.size ?? 0;
}

function subjectOf({ kind, name, digest }: InTotoSubject): StatedSubject {
  if (kind === subjectKinds.self) return { kind: 'self', name };
  if (kind !== subjectKinds.raw) throw invalid(`unknown attestation subject type ${kind}`);
  const byAlgorithm = (digest as Digest[]).map((each) => {
    const colon = each.indexOf(':');
    return [each.slice(0, colon), each.slice(colon + 1)];
  });
  return { kind: 'raw', name, digest: Object.fromEntries(byAlgorithm) };
}

function invalid(message: string): Error {
  return fail('invalid', 'frontend', message);
}

/** Waits no longer than a limit, in ms. The work itself ends with the build, which fails. */
async function within<T>(limit: number | undefined, work: Promise<T>, name: string): Promise<T> {
  if (limit === undefined) return work;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        fail('unavailable', 'exec', `${name}: it was not done after ${limit / 1000} s`, {
          hint: 'Give it more time with timeout=…, or look at what it waits for.',
        }),
      );
    }, limit);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
