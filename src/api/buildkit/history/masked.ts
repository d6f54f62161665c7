/** A build's progress and error in the form in which they are kept: without the secrets in its request. Pure. */
import { create } from '@bufbuild/protobuf';
import { Masks } from '../../../errors/index.ts';
import { type Status, StatusSchema } from '../../../pb/google/rpc/status_pb.js';
import type { SolveRequest } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { maskedJson, maskedPieces } from '../../../records/index.ts';

/**
 * The masks for values in a request that may be secret by their names: options of its frontend (build args among them)
 * and of its exporters.
 */
export function masksOf({ FrontendAttrs, Exporters, ExporterAttrsDeprecated }: SolveRequest): Masks {
  const attrs = [FrontendAttrs, ExporterAttrsDeprecated, ...Exporters.map(({ Attrs }) => Attrs)];
  return new Masks(attrs.flatMap((each) => Object.entries(each)));
}

/** Masks messages in place. A secret that a step printed in pieces is found as well. The work is for `inTurns`. */
export function* maskStatus(messages: readonly StatusResponse[], masks: Masks): Generator<void, void> {
  const outputs = new Map<string, { msg: Uint8Array }[]>();
  for (const { vertexes, statuses, warnings, logs } of messages) {
    yield;
    for (const vertex of vertexes) {
      vertex.name = masks.text(vertex.name);
      vertex.error = masks.text(vertex.error);
    }
    for (const status of statuses) {
      status.ID = masks.text(status.ID);
      status.name = masks.text(status.name);
    }
    for (const warning of warnings) {
      warning.short = masks.bytes(warning.short);
      warning.detail = warning.detail.map((line) => masks.bytes(line));
      if (warning.info) warning.info.data = masks.bytes(warning.info.data);
    }
    for (const log of logs) {
      const key = `${log.vertex} ${log.stream}`;
      const same = outputs.get(key);
      if (same === undefined) outputs.set(key, [log]);
      else same.push(log);
    }
  }
  for (const logs of outputs.values()) {
    yield;
    const masked = maskedPieces(
      logs.map(({ msg }) => msg),
      masks,
    );
    for (const [i, log] of logs.entries()) log.msg = masked[i] as Uint8Array<ArrayBuffer>;
  }
}

/** An error with its details masked. The details may hold a step's op with its environment, and a Dockerfile. */
export function maskedError({ code, message, details }: Status, masks: Masks): Status {
  return create(StatusSchema, {
    code,
    message: masks.text(message),
    details: details.map(({ typeUrl, value }) => ({ typeUrl, value: maskedDetail(typeUrl, value, masks) })),
  });
}

function maskedDetail(typeUrl: string, value: Uint8Array, masks: Masks): Uint8Array<ArrayBuffer> {
  if (!typeUrl.endsWith('+json')) return masks.bytes(value);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(value).toString('utf8'));
  } catch {
    return masks.bytes(value); // a frontend's own
  }
  return Buffer.from(JSON.stringify(maskedJson(json, '', masks)));
}
