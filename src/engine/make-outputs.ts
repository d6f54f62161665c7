/** The outputs of a build: what was solved becomes images, archives and files, and then caches for others. */
import type { Attestation } from '../attest/index.ts';
import { throwIfAborted } from '../errors/index.ts';
import {
  type Bases,
  basesOf,
  type ExportResponse,
  type PlatformResult,
  type StoredOutput,
} from '../exporter/index.ts';
import { type Descriptor, formatPlatform, hostPlatform } from '../oci/index.ts';
import type { Session } from '../session/index.ts';
import type { Job } from '../solver/index.ts';
import type { Bridge } from './bridge/bridge.ts';
import { frontendAnnotations, frontendNames, overlaid } from './bridge/output-metadata.ts';
import { frontendEpoch, platformGraphs, platformResults } from './bridge/platforms.ts';
import type { BridgeResult } from './bridge/types.ts';
import { platformMismatch } from './bridge/verify-platforms.ts';
import type { BuildCaches, CachePlan } from './caches.ts';
import type { NetworkLog } from './network-log.ts';
import { namesOf, openOutputs } from './outputs.ts';
import type { PackAhead } from './pack-ahead.ts';
import { provenances } from './provenance.ts';
import type { BuildRequest, Built } from './types.ts';
import type { UsageLog } from './usage-log.ts';

interface Exports {
  bridge: Bridge;
  request: BuildRequest;
  session: Session;
  plan: CachePlan;
  caches: BuildCaches;
  chosen: ReturnType<typeof openOutputs>;
  /** ms since the epoch */
  startedAt: number;
  /** What the build uses of the machine; undefined when nobody records it. */
  usage?: UsageLog;
  /** What steps asked for by their proxies; undefined: the build has no proxies. */
  reach?: NetworkLog;
  ahead?: PackAhead;
}

/**
 * Solves the refs of the result that are not solved yet, makes all outputs, one after the other, and then writes the
 * caches for others.
 */
export async function makeOutputs(
  { bridge, request, session, plan, caches, chosen, startedAt, usage, reach, ahead }: Exports,
  result: BridgeResult,
): Promise<Built> {
  const { engine, job, lease } = bridge;
  const results = await platformResults(result);
  ahead?.end();
  const returned = await returnedBy(bridge, request, result);
  const stated = await statements(bridge, request, result, { startedAt, usage, reach });
  const mismatch = platformMismatchOf(
    request,
    result,
    results.map(({ platform }) => platform),
  );
  await warnUnder(job, '[internal] verifying the result', [...mismatch, ...lostNotes(returned.lost)]);
  const graphs = await platformGraphs(result);
  const metadata: Record<string, unknown> = {};
  const descriptors = new Map<number, Descriptor>();
  const documents: Buffer[] = [];
  const stored: StoredOutput[] = [];
  let first: ExportResponse | undefined;
  let found: Promise<Bases> | undefined;
  const bases = () => (found ??= engine.solver.images(job).then(basesOf));
  const further = (await request.furtherOutputs?.(bridge, result)) ?? [];
  for (const { output, index, attrs, given, exporter } of [
    ...chosen,
    ...openOutputs(further, request.outputs.length),
  ]) {
    throwIfAborted(job.signal);
    const described = given === undefined ? results : await platformResults(overlaid(result, given));
    const tags = attrs.name === '*' ? frontendNames(result) : (request.tags ?? []);
    const names = namesOf({ ...output, attrs }, tags, engine.store);
    const response = await job.inVertex(exporter.title, (progress) =>
      exporter.export(
        {
          results: described.map((each, i) => ({
            ...each,
            attestations: [...(returned.attestations[i] ?? []), ...attestationsOf(stated[i]?.asked)],
          })),
          attrs,
          names,
          sourceDateEpoch: request.sourceDateEpoch ?? frontendEpoch(result),
          dockerTypes: request.dockerTypes,
          annotations: frontendAnnotations(result),
          index: result.refs !== undefined,
          madeNow: request.madeNow,
          cacheCompression: plan.wants[0]?.compression,
          inlineCache: plan.inline
            ? (at, diffIds) => caches.inline(described[at]?.ref, graphs[at], diffIds)
            : undefined,
        },
        {
          store: engine.store,
          registry: engine.registry,
          session: job.session,
          signingSecret: (id) => session.secret(id),
          progress,
          signal: job.signal,
          lease,
          sink: output.sink,
          forgetsReplaced: output.forgetsReplaced,
          trusting: (ref) => caches.registryFor(ref, true).registry,
          bases,
        },
      ),
    );
    first ??= response;
    if (response.descriptor !== undefined) descriptors.set(index, response.descriptor);
    documents.push(...(response.documents ?? []));
    if (response.stored !== undefined) stored.push(response.stored);
    Object.assign(metadata, response.metadata);
  }
  Object.assign(metadata, await caches.export(plan, results, graphs, bases));
  await request.exported?.(result, metadata);
  const { imageId, descriptor, size } = first ?? {};
  const warnings = [...(result.findings ?? [])];
  const predicates = predicatesOf(result, results, stated);
  const lock = request.locks ? await lockedBy(bridge) : undefined;
  return {
    result,
    imageId,
    descriptor,
    size,
    metadata,
    descriptors,
    documents,
    stored,
    warnings,
    predicates,
    lock,
  };
}

async function lockedBy({ engine, job }: Bridge): Promise<Built['lock']> {
  const { lockOf } = await import('./lock.ts');
  return lockOf(await engine.solver.sources(job));
}

type Stated = Awaited<ReturnType<typeof provenances>>;

/** Makes the provenances of the result's trees, in the order of the trees; an empty list when nobody wants any. */
async function statements(
  bridge: Bridge,
  request: BuildRequest,
  result: BridgeResult,
  course: Pick<Exports, 'startedAt' | 'usage' | 'reach'>,
): Promise<Stated> {
  if (request.provenance === undefined && !request.recorded) return [];
  const { startedAt, usage, reach } = course;
  return provenances(bridge, result, request, { startedAt, usage: usage?.end(), reached: reach?.steps });
}

/** Reads the attestations that came with a result. */
async function returnedBy(
  bridge: Bridge,
  { sbom }: BuildRequest,
  result: BridgeResult,
): Promise<Awaited<ReturnType<typeof import('./attestations.ts').returnedAttestations>>> {
  if (result.attestations === undefined) return { attestations: [], lost: [] };
  const { returnedAttestations } = await import('./attestations.ts');
  return returnedAttestations(bridge, result, sbom);
}

function lostNotes(lost: readonly string[]): string[] {
  return lost.map(
    (name) => `the frontend returned attestations of ${name}, which is no result: they are left out`,
  );
}

function attestationsOf(asked: Attestation | undefined): readonly Attestation[] {
  return asked === undefined ? [] : [asked];
}

function predicatesOf(
  { refs }: BridgeResult,
  results: readonly PlatformResult[],
  stated: Stated,
): NonNullable<Built['predicates']> {
  const found = stated.flatMap(({ recorded }, i) => {
    const name = refs === undefined ? '' : (results[i]?.id ?? '');
    return recorded === undefined ? [] : [[name, recorded] as const];
  });
  return new Map(found);
}

/** Shows sentences as warnings under a vertex of their own. Without sentences there is no vertex. */
async function warnUnder(job: Job, vertex: string, sentences: readonly string[]): Promise<void> {
  if (sentences.length === 0) return;
  await job.inVertex(vertex, async (progress) => {
    for (const short of sentences) progress.warn({ level: 1, short, detail: [] });
  });
}

/** The sentences about a frontend that made other platforms than it was asked for; none when all is well. */
function platformMismatchOf(
  { platform }: BuildRequest,
  { ref, refs, metadata }: BridgeResult,
  made: Parameters<typeof platformMismatch>[1],
): string[] {
  if (metadata['refs.platforms'] === undefined && ref === undefined && refs === undefined) return [];
  return platformMismatch(platform ?? formatPlatform(hostPlatform()), made, refs !== undefined);
}
