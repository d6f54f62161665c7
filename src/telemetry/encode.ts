/**
 * Spans in OTLP's two forms. Pure.
 * https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto has the numbers.
 */
import { BinaryWriter } from '@bufbuild/protobuf/wire';

export const internal = 1;
export const server = 2;
const [ok, error] = [1, 2];

/** A span that has ended. */
export interface Span {
  /** Hexadecimal, 32 and 16 digits. */
  traceId: string;
  spanId: string;
  parentId?: string;
  name: string;
  kind: number;
  /** ms since the epoch. */
  started: number;
  completed: number;
  attributes: Readonly<Record<string, string | boolean | number>>;
  /** Why it failed; undefined: it did not. */
  error?: string;
}

/** Who has made the spans. */
export interface Sender {
  resource: Readonly<Record<string, string>>;
  scope: { name: string; version: string };
}

type Attributes = Span['attributes'];

/** A ResourceSpans, in protobuf. */
export function resourceSpans({ resource, scope }: Sender, spans: readonly Span[]): Uint8Array {
  const out = new BinaryWriter();
  out.tag(1, 2).fork();
  attributes(out, 1, resource);
  out.join().tag(2, 2).fork();
  out.tag(1, 2).fork().tag(1, 2).string(scope.name).tag(2, 2).string(scope.version).join();
  for (const span of spans) writeSpan(out.tag(2, 2).fork(), span).join();
  return out.join().finish();
}

/** A request of these ResourceSpans, in protobuf. */
export function traceRequest(all: readonly Uint8Array[]): Uint8Array {
  const out = new BinaryWriter();
  for (const each of all) out.tag(1, 2).bytes(each);
  return out.finish();
}

function writeSpan(out: BinaryWriter, span: Span): BinaryWriter {
  out.tag(1, 2).bytes(Buffer.from(span.traceId, 'hex'));
  out.tag(2, 2).bytes(Buffer.from(span.spanId, 'hex'));
  if (span.parentId !== undefined) out.tag(4, 2).bytes(Buffer.from(span.parentId, 'hex'));
  out.tag(5, 2).string(span.name).tag(6, 0).int32(span.kind);
  out.tag(7, 1).fixed64(nanoseconds(span.started)).tag(8, 1).fixed64(nanoseconds(span.completed));
  attributes(out, 9, span.attributes);
  out.tag(15, 2).fork();
  if (span.error !== undefined) out.tag(2, 2).string(span.error);
  return out
    .tag(3, 0)
    .int32(span.error === undefined ? (ok as number) : (error as number))
    .join();
}

function attributes(out: BinaryWriter, number: number, values: Attributes): void {
  for (const [key, value] of Object.entries(values)) {
    out.tag(number, 2).fork().tag(1, 2).string(key).tag(2, 2).fork();
    if (typeof value === 'string') out.tag(1, 2).string(value);
    else if (typeof value === 'boolean') out.tag(2, 0).bool(value);
    else out.tag(3, 0).int64(Math.round(value));
    out.join().join();
  }
}

/** The same request as JSON. */
export function traceJson({ resource, scope }: Sender, spans: readonly Span[]): string {
  const list = spans.map((span) => ({
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentId !== undefined && { parentSpanId: span.parentId }),
    name: span.name,
    kind: span.kind,
    startTimeUnixNano: String(nanoseconds(span.started)),
    endTimeUnixNano: String(nanoseconds(span.completed)),
    attributes: jsonAttributes(span.attributes),
    status: span.error === undefined ? { code: ok } : { code: error, message: span.error },
  }));
  return JSON.stringify({
    resourceSpans: [
      { resource: { attributes: jsonAttributes(resource) }, scopeSpans: [{ scope, spans: list }] },
    ],
  });
}

function jsonAttributes(values: Attributes): object[] {
  return Object.entries(values).map(([key, value]) => ({
    key,
    value:
      typeof value === 'string'
        ? { stringValue: value }
        : typeof value === 'boolean'
          ? { boolValue: value }
          : { intValue: String(Math.round(value)) },
  }));
}

function nanoseconds(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}
