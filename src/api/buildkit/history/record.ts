/** The record of a build: what it holds when the build begins, and what its end adds. Passwords are nowhere in it. */
import { create, toBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Attestation, predicateTypeKey, statementMediaType } from '../../../attest/index.ts';
import type { Built } from '../../../engine/index.ts';
import type { Masks } from '../../../errors/index.ts';
import { digestOf, type Descriptor as OciDescriptor } from '../../../oci/index.ts';
import { type Status, StatusSchema } from '../../../pb/google/rpc/status_pb.js';
import {
  type BuildHistoryRecord,
  BuildHistoryRecordSchema,
  BuildResultInfoSchema,
  type Descriptor,
  DescriptorSchema,
  type SolveRequest,
} from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { VertexEvent } from '../../../progress/index.ts';
import { type BuildDetails, exporterResponse, maskedJson } from '../../../records/index.ts';
import { inTurns } from '../../../workers/index.ts';
import type { BuildLog } from '../../shared/build-log.ts';
import { timestamp } from '../timestamp.ts';
import { maskedError } from './masked.ts';
import { pack, packStatus } from './packed.ts';
import { statusMediaType } from './status-blob.ts';
import { traceMediaType, traceOf } from './trace.ts';

/** The type of an error's blob. BuildKit misspells it for good. */
const errorMediaType = 'application/vnd.googeapis.google.rpc.status+proto';

/** The end of a build. */
export interface RecordedEnd {
  response?: Record<string, string>;
  error?: Status;
  /** The descriptors of the outputs' results, by the outputs' places. */
  results?: ReadonlyMap<number, OciDescriptor>;
  /** The manifests, configs and indexes of those results. The record keeps them when the images are gone. */
  documents?: readonly Uint8Array[];
  /** The provenances of the results, by the results' names; '' for a result that is no list. */
  predicates?: ReadonlyMap<string, Pick<Attestation, 'predicateType' | 'predicate'>>;
  /** The files and the steps' use, masked already; default: the log's. */
  details?: BuildDetails;
  /** When it ended, in ms since the epoch; default: now. */
  at?: number;
}

/** The end of a build that made what it was asked for. */
export function endOf({
  metadata,
  result,
  descriptors,
  documents,
  predicates,
}: Built): Required<Pick<RecordedEnd, 'response'>> & RecordedEnd {
  const response = exporterResponse(metadata, result.metadata ?? {});
  return { response, results: descriptors, documents, predicates };
}

/** A document of the record, kept beside it. */
interface Blob {
  descriptor: Descriptor;
  packed: Buffer | Promise<Buffer>;
}

/** Makes the record of a build that begins. `at`: when, in ms since the epoch. */
export function beginRecord(
  ref: string,
  request: SolveRequest,
  masks: Masks,
  at: number,
): BuildHistoryRecord {
  const legacy =
    request.ExporterDeprecated === ''
      ? []
      : [{ Type: request.ExporterDeprecated, Attrs: request.ExporterAttrsDeprecated }];
  const exporters = request.Exporters.length > 0 ? request.Exporters : legacy;
  return create(BuildHistoryRecordSchema, {
    Ref: ref,
    Frontend: request.Frontend,
    FrontendAttrs: masks.attrs(request.FrontendAttrs),
    Exporters: exporters.map(({ Type, Attrs }) => ({ Type, Attrs: masks.attrs(Attrs) })),
    CreatedAt: timestamp(at),
  });
}

/** Writes the end of a build into its record, and makes the blobs that the record names. */
export async function completeRecord(
  record: BuildHistoryRecord,
  masks: Masks,
  log: BuildLog,
  end: RecordedEnd,
): Promise<Blob[]> {
  const { total, cached, completed, warnings } = log.counts;
  record.CompletedAt = timestamp(end.at ?? Date.now());
  record.numTotalSteps = total;
  record.numCachedSteps = cached;
  record.numCompletedSteps = completed;
  record.numWarnings = warnings;
  record.ExporterResponse = masks.attrs(end.response ?? {});
  record.Result = resultsOf(end.results);
  const blobs: Blob[] = [];
  const keep = (mediaType: string, data: Uint8Array): Descriptor => {
    const descriptor = create(DescriptorSchema, {
      mediaType,
      digest: digestOf(data),
      size: BigInt(data.length),
    });
    blobs.push({ descriptor, packed: pack(data) });
    return descriptor;
  };
  const { digest, size, packed } = await packStatus(log.messages(), masks);
  record.logs = create(DescriptorSchema, { mediaType: statusMediaType, digest, size: BigInt(size) });
  blobs.push({ descriptor: record.logs, packed });
  const error = end.error && maskedError(end.error, masks);
  record.trace = keep(traceMediaType, await inTurns(traceBlob(record, log, masks, error?.message)));
  for (const document of end.documents ?? []) keep('application/json', document);
  for (const [name, { predicateType, predicate }] of end.predicates ?? []) {
    const json = JSON.stringify(maskedJson(await predicate(), '', masks), undefined, 2);
    const descriptor = keep(statementMediaType, Buffer.from(json));
    descriptor.annotations[predicateTypeKey] = predicateType;
    attach(record, name, descriptor);
  }
  if (error !== undefined) {
    // Its details, which may hold a Dockerfile, are in the blob alone.
    record.error = create(StatusSchema, { code: error.code, message: error.message });
    record.externalError = keep(errorMediaType, toBinary(StatusSchema, error));
  }
  return blobs;
}

function traceBlob(
  record: BuildHistoryRecord,
  log: BuildLog,
  masks: Masks,
  error?: string,
): Generator<void, Buffer> {
  const ms = (time: BuildHistoryRecord['CreatedAt']) => (time === undefined ? 0 : timestampMs(time));
  return traceOf({
    ref: record.Ref,
    started: ms(record.CreatedAt),
    completed: ms(record.CompletedAt),
    error,
    vertices: masked(log.vertices(), masks),
  });
}

function* masked(vertices: readonly VertexEvent[], masks: Masks): Generator<VertexEvent> {
  for (const vertex of vertices) {
    yield {
      ...vertex,
      name: masks.text(vertex.name),
      error: vertex.error && masks.text(vertex.error),
    };
  }
}

/** Names a statement in a record, where clients look for the statements of a result, or of one result of a list. */
function attach(record: BuildHistoryRecord, name: string, statement: Descriptor): void {
  const existing = name === '' ? record.Result : record.Results[name];
  const info = existing ?? create(BuildResultInfoSchema);
  if (name === '') record.Result = info;
  else record.Results[name] = info;
  info.Attestations.push(statement);
}

/**
 * The descriptors of the results, where clients look for them: each output's, and the first one also where older
 * clients look.
 */
function resultsOf(results: RecordedEnd['results']): BuildHistoryRecord['Result'] {
  if (results === undefined || results.size === 0) return undefined;
  const messages = [...results].map(([index, { mediaType, digest, size, annotations }]) => {
    const descriptor = { mediaType, digest, size: BigInt(size), annotations: annotations ?? {} };
    return [String(index), create(DescriptorSchema, descriptor)] as const;
  });
  return create(BuildResultInfoSchema, {
    ResultDeprecated: messages[0]?.[1],
    Results: Object.fromEntries(messages),
  });
}
