/** A build's progress and error in the form in which they are kept: without the secrets in its request. Pure. */
import { create } from '@bufbuild/protobuf';
import { hidden, looksSecret, Masks } from '../../../errors/index.ts';
import { type Status, StatusSchema } from '../../../pb/google/rpc/status_pb.js';
import type { SolveRequest } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../pb/moby/buildkit/v1/status_pb.js';

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
    maskOutput(logs, masks);
  }
}

function maskOutput(logs: readonly { msg: Uint8Array }[], masks: Masks): void {
  const masked = masks.bytes(Buffer.concat(logs.map(({ msg }) => msg)));
  let at = 0;
  for (const log of logs) {
    const end = at + log.msg.length;
    log.msg = masked.subarray(at, end);
    at = end;
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

/** The fields of details' messages that hold bytes, in base64: files and ops. */
const bytesFields = new Set(['data', 'def']);

/** Masks all texts of a JSON value, bytes in base64 among them. `field` is the name that the value has. */
export function maskedJson(value: unknown, field: string, masks: Masks): unknown {
  if (typeof value === 'string') {
    if (bytesFields.has(field)) {
      return Buffer.from(masks.bytes(Buffer.from(value, 'base64'))).toString('base64');
    }
    const name = /^[A-Za-z_][A-Za-z0-9_]*(?==.)/.exec(value)?.[0];
    if (field === 'env' && name !== undefined && looksSecret(name)) return `${name}=${hidden}`;
    return masks.text(value);
  }
  if (Array.isArray(value)) return value.map((each) => maskedJson(each, field, masks));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, maskedJson(each, name, masks)]),
  );
}
