/** The exporters that a client chooses itself once it has seen the result (proto/session/exporter.proto). */
import { create, toBinary } from '@bufbuild/protobuf';
import { decodeShort, GrpcError, UNAVAILABLE } from '../../grpc/index.ts';
import {
  FinalizeExportRequestSchema,
  FindExportersRequestSchema,
  FindExportersResponseSchema,
} from '../../pb/session/exporter_pb.js';
import { notServed, type Peer } from '../peer.ts';

const service = '/moby.exporter.v1.Exporter';

export interface ChosenExporter {
  type: string;
  attrs: Record<string, string>;
}

/**
 * Asks which exporters the client wants for a result; the client gets its metadata, and the ids of its refs in the
 * build's gateway. Resolves with none when the client does not choose any. Throws an error that the client answers
 * with, and `unavailable` when the client is gone.
 */
export async function findExporters(
  peer: Peer,
  metadata: Record<string, Uint8Array>,
  refs: string[],
): Promise<ChosenExporter[]> {
  const what = 'the exporters of the result';
  const request = create(FindExportersRequestSchema, { metadata, refs });
  const answer = await asked(
    peer,
    what,
    `${service}/FindExporters`,
    toBinary(FindExportersRequestSchema, request),
  );
  if (answer === notServed) return [];
  return decodeShort(FindExportersResponseSchema, answer).exporters.map(({ Type, Attrs }) => ({
    type: Type,
    attrs: { ...Attrs },
  }));
}

/** Tells the client that everything is exported, with the exporters' responses. Throws the client's own error. */
export async function finalizeExport(peer: Peer, response: Record<string, string>): Promise<void> {
  const what = 'the end of its export';
  const request = create(FinalizeExportRequestSchema, { exporterResponse: response });
  await asked(peer, what, `${service}/FinalizeExport`, toBinary(FinalizeExportRequestSchema, request));
}

/**
 * Calls a method of the service. A client may serve one of the methods alone; it answers the other with `unimplemented`
 * or `unavailable`.
 */
async function asked(peer: Peer, what: string, method: string, request: Uint8Array) {
  try {
    return await peer.unary(what, method, request);
  } catch (err) {
    if (err instanceof GrpcError && err.code === UNAVAILABLE) return notServed;
    throw peer.explain(what, err);
  }
}
