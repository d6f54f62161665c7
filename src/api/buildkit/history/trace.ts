/**
 * A build's trace: a span for the build and one for each vertex that ran, as JSON documents one after the other, in the
 * shape of OpenTelemetry's span stubs, which `buildctl debug logs --trace` and `buildx history trace` read.
 * https://pkg.go.dev/go.opentelemetry.io/otel/sdk/trace/tracetest#SpanStub
 */
import { randomBytes } from 'node:crypto';
import type { VertexEvent } from '../../../progress/index.ts';

export const traceMediaType = 'application/vnd.buildkit.otlp.json.v0';

/** SpanKind and status codes as OpenTelemetry's SDK for Go encodes them. */
const internalSpan = 1;
const serverSpan = 2;

interface TracedBuild {
  ref: string;
  /** ms since the epoch */
  started: number;
  completed: number;
  error?: string;
  /** The vertices, read one by one. */
  vertices: Iterable<VertexEvent>;
}

/** All spans of a build, the build's own first. The work is for `inTurns`. */
export function* traceOf({ ref, started, completed, error, vertices }: TracedBuild): Generator<void, Buffer> {
  const traceId = randomBytes(16).toString('hex');
  const root = randomBytes(8).toString('hex');
  const spans: Buffer[] = [];
  for (const vertex of vertices) {
    yield;
    if (vertex.started === undefined) continue;
    const facts = {
      name: vertex.name,
      traceId,
      id: randomBytes(8).toString('hex'),
      parent: root,
      kind: internalSpan,
      started: vertex.started,
      completed: vertex.completed ?? completed,
      error: vertex.error,
      attributes: {
        vertex: vertex.digest,
        ...(vertex.cached ? { cached: true } : {}),
        ...(vertex.inputs.length > 0 ? { inputs: vertex.inputs.join(' ') } : {}),
      },
      children: 0,
    };
    spans.push(line(span(facts)));
  }
  const build = span({
    name: 'moby.buildkit.v1.Control/Solve',
    traceId,
    id: root,
    kind: serverSpan,
    started,
    completed,
    error,
    attributes: { ref },
    children: spans.length,
  });
  return Buffer.concat([line(build), ...spans]);
}

function line(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

interface SpanFacts {
  name: string;
  traceId: string;
  id: string;
  parent?: string;
  kind: number;
  started: number;
  completed: number;
  error?: string;
  attributes: Readonly<Record<string, string | boolean>>;
  children: number;
}

function span(facts: SpanFacts): object {
  const { name, traceId, id, parent, kind, started, completed, error, attributes, children } = facts;
  return {
    Name: name,
    SpanContext: context(traceId, id),
    Parent: parent === undefined ? context('0'.repeat(32), '0'.repeat(16), '00') : context(traceId, parent),
    SpanKind: kind,
    StartTime: new Date(started).toISOString(),
    EndTime: new Date(completed).toISOString(),
    Attributes: keyValues(attributes),
    Events: null,
    Links: null,
    Status: error === undefined ? { Code: 'Unset', Description: '' } : { Code: 'Error', Description: error },
    DroppedAttributes: 0,
    DroppedEvents: 0,
    DroppedLinks: 0,
    ChildSpanCount: children,
    Resource: keyValues({ 'service.name': 'drydock' }),
    InstrumentationLibrary: { Name: 'drydock', Version: '', SchemaURL: '' },
  };
}

function context(traceId: string, id: string, flags = '01'): object {
  return { TraceID: traceId, SpanID: id, TraceFlags: flags, TraceState: '', Remote: false };
}

function keyValues(values: Readonly<Record<string, string | boolean>>): object[] {
  return Object.entries(values).map(([Key, Value]) => ({
    Key,
    Value: { Type: typeof Value === 'boolean' ? 'BOOL' : 'STRING', Value },
  }));
}
