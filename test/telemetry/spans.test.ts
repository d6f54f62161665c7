/** Spans of builds: what they say, how they are sent, and that a build never waits or fails for them. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { createServer as createHttp2, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Digest } from '../../src/oci/index.ts';
import { buildSpans } from '../../src/telemetry/build-spans.ts';
import { resourceSpans, type Span, traceRequest } from '../../src/telemetry/encode.ts';
import { TraceExporter } from '../../src/telemetry/exporter.ts';
import { traceSettings } from '../../src/telemetry/settings.ts';
import { parseTraceparent } from '../../src/telemetry/traceparent.ts';
import { startTestDaemon } from '../kit/daemon.ts';

interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

const received: Received[] = [];
let answers: number[] = [];
const receiver = createServer(async (request, response) => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  received.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(parts) });
  response.writeHead(answers.shift() ?? 200, { 'retry-after': '0' }).end();
});
let endpoint: string;
beforeAll(async () => {
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  endpoint = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
});
afterAll(() => {
  receiver.closeAllConnections();
  receiver.close();
});
beforeEach(() => {
  received.length = 0;
  answers = [];
});

const client = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

/** The fields of a message by their numbers. */
function fields(bytes: Uint8Array): Map<number, (Buffer | bigint)[]> {
  const reader = new BinaryReader(bytes);
  const found = new Map<number, (Buffer | bigint)[]>();
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const value =
      wire === WireType.LengthDelimited
        ? Buffer.from(reader.bytes())
        : BigInt(wire === WireType.Varint ? reader.int64() : reader.fixed64());
    found.set(number, [...(found.get(number) ?? []), value]);
  }
  return found;
}

const hex = (values: (Buffer | bigint)[] = []) => (values[0] as Buffer | undefined)?.toString('hex');

/** The spans of a request in protobuf: name, IDs, status. */
function spansIn(body: Uint8Array) {
  const all = (bytes: Uint8Array, number: number) => (fields(bytes).get(number) ?? []) as Buffer[];
  return all(body, 1)
    .flatMap((each) => all(each, 2))
    .flatMap((each) => all(each, 2))
    .map((span) => {
      const of = fields(span);
      const [status] = (of.get(15) ?? []) as Buffer[];
      return {
        name: String(of.get(5)?.[0]),
        trace: hex(of.get(1)),
        id: hex(of.get(2)),
        parent: hex(of.get(4)),
        took: (of.get(8)?.[0] as bigint) - (of.get(7)?.[0] as bigint),
        status: Number(fields(status as Buffer).get(3)?.[0]),
      };
    });
}

test.each([
  [{}, undefined],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' },
    { href: 'http://c:4318/v1/traces', protocol: 'http/protobuf' },
  ],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c/base/' }, { href: 'http://c/base/v1/traces' }],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://d/x' },
    { href: 'https://d/x' },
  ],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, { protocol: 'grpc' }],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_HEADERS: 'a=b%20c,d=e' },
    { headers: { a: 'b c', d: 'e' } },
  ],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_SDK_DISABLED: 'true' }, undefined],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_TRACES_EXPORTER: 'none' }, undefined],
])('the variables %j', (env, expected) => {
  const settings = traceSettings(env);
  if (expected === undefined) expect(settings).toBeUndefined();
  else expect({ ...settings, href: settings?.url.href }).toMatchObject(expected);
});

test('wrong variables are named', () => {
  expect(() => traceSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'c:4318' })).toThrow(
    /OTEL_EXPORTER_OTLP_ENDPOINT=c:4318/,
  );
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_PROTOCOL: 'smtp' };
  expect(() => traceSettings(env)).toThrow(/want http\/protobuf, http\/json, grpc/);
});

test('a traceparent, and what is none', () => {
  expect(parseTraceparent(client)).toEqual({
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    sampled: true,
  });
  for (const bad of [
    '',
    'x',
    client.replace('00-', 'ff-'),
    client.replace(/-0af\w+/, `-${'0'.repeat(32)}`),
    client.toUpperCase(),
  ]) {
    expect(parseTraceparent(bad)).toBeUndefined();
  }
});

test('a build and its steps: parents, times, failures, no credentials', () => {
  const spans: Span[] = [];
  const build = buildSpans(parseTraceparent(client), { 'drydock.names': 'app' }, (each) =>
    spans.push(...each),
  );
  const digest = (n: number) => `sha256:${n}` as Digest;
  const vertex = (n: number, name: string, more: object) =>
    build.sink.vertex({ digest: digest(n), inputs: [], name, ...more });
  vertex(1, 'RUN make', { started: 1000 });
  vertex(1, 'RUN make', { started: 1000, completed: 1500.5 });
  vertex(2, 'git https://me:secret@host/x', { started: 1, completed: 2, cached: true });
  vertex(3, 'RUN false', { started: 1, completed: 3, error: 'exit code: 1' });
  build.end(new Error('exit code: 1'));
  const [make, git, failed, own] = spans as [Span, Span, Span, Span];
  expect(own).toMatchObject({ name: 'build', parentId: 'b7ad6b7169203331', error: 'exit code: 1' });
  expect(own.attributes).toEqual({ 'drydock.names': 'app', 'drydock.steps': 3, 'drydock.steps.cached': 1 });
  for (const each of [make, git, failed])
    expect(each).toMatchObject({ parentId: own.spanId, traceId: own.traceId });
  expect(make).toMatchObject({ started: 1000, completed: 1500.5 });
  expect(git.name).not.toContain('secret');
  expect(failed.error).toBe('exit code: 1');
  const [first] = spansIn(
    traceRequest([resourceSpans({ resource: {}, scope: { name: 'x', version: '1' } }, spans)]),
  );
  expect(first).toMatchObject({ name: 'RUN make', took: 500_500_000n, status: 1, parent: own.spanId });
});

describe('sending', () => {
  const span: Span = {
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    name: 'x',
    kind: 1,
    started: 1,
    completed: 2,
    attributes: { n: 3, yes: true },
  };
  const exporter = (env: object = {}, said: string[] = []) => {
    const settings = traceSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...env });
    if (settings === undefined) throw new Error('no settings');
    return new TraceExporter(settings, (text) => said.push(text));
  };

  test('protobuf, with spans of clients beside, and headers', async () => {
    const sending = exporter({ OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer x' });
    sending.add([span]);
    sending.passOn([
      resourceSpans({ resource: {}, scope: { name: 'client', version: '' } }, [{ ...span, name: 'theirs' }]),
    ]);
    await sending.close();
    const [{ path, headers, body }] = received as [Received];
    expect([path, headers['content-type'], headers.authorization]).toEqual([
      '/v1/traces',
      'application/x-protobuf',
      'Bearer x',
    ]);
    expect(spansIn(body).map(({ name }) => name)).toEqual(['x', 'theirs']);
  });
  test('JSON', async () => {
    const sending = exporter({ OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_SERVICE_NAME: 'ci' });
    sending.add([span]);
    await sending.close();
    const [resource] = JSON.parse(String(received[0]?.body)).resourceSpans;
    expect(resource.resource.attributes).toEqual([{ key: 'service.name', value: { stringValue: 'ci' } }]);
    expect(resource.scopeSpans[0].spans[0]).toMatchObject({
      startTimeUnixNano: '1000000',
      attributes: [{ value: { intValue: '3' } }, { value: { boolValue: true } }],
    });
  });
  test('a receiver that has no time now is asked once more; one that refuses is told of', async () => {
    const said: string[] = [];
    const sending = exporter({}, said);
    answers = [503, 200];
    sending.add([span]);
    await sending.close();
    expect([received.length, said]).toEqual([2, []]);
    answers = [400];
    const refused = exporter({}, said);
    refused.add([span]);
    await refused.close();
    expect(said).toEqual([expect.stringMatching(/spans were not sent to 127.0.0.1:\d+: it answered 400/)]);
  });
  test('gRPC: by one connection, with headers; a receiver that has no time is asked once more', async () => {
    const calls: { headers: IncomingHttpHeaders; body: Buffer }[] = [];
    const statuses = ['0', '14', '0'];
    const server = createHttp2();
    let connections = 0;
    server.on('session', () => connections++);
    server.on('stream', async (stream: ServerHttp2Stream, headers) => {
      const parts: Buffer[] = [];
      for await (const part of stream) parts.push(part as Buffer);
      // A frame: five bytes of head, then the message.
      calls.push({ headers, body: Buffer.concat(parts).subarray(5) });
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': statuses.shift() ?? '0' }));
      stream.end(Buffer.alloc(5));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const said: string[] = [];
    const sending = exporter(
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer x',
      },
      said,
    );
    for (const count of [1, 3]) {
      sending.add([{ ...span, name: `after ${count - 1}` }]);
      await expect.poll(() => calls.length).toBe(count);
    }
    await sending.close();
    expect(calls.map(({ headers }) => [headers[':path'], headers.authorization])).toEqual(
      Array(3).fill(['/opentelemetry.proto.collector.trace.v1.TraceService/Export', 'Bearer x']),
    );
    expect(calls.map(({ body }) => spansIn(body).map(({ name }) => name))).toEqual([
      ['after 0'],
      ['after 2'],
      ['after 2'],
    ]);
    expect([connections, said]).toEqual([1, []]);
    server.close();
  });
  test('what is too much is dropped, and nobody is there', async () => {
    const said: string[] = [];
    const sending = exporter({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }, said);
    for (let i = 0; i < 9; i++) sending.add(Array.from({ length: 1000 }, () => span));
    sending.passOn([new Uint8Array(9 << 20)]);
    await sending.close();
    expect(said).toHaveLength(1);
  });
});

test('a build by POST /build has its client’s span for a parent', async () => {
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', endpoint);
  const daemon = await startTestDaemon();
  try {
    const { gzipSync } = await import('node:zlib');
    const { execFileSync } = await import('node:child_process');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(`${daemon.dir}/Dockerfile`, 'FROM scratch\nCOPY Dockerfile /\n');
    const body = gzipSync(execFileSync('tar', ['-C', daemon.dir, '-c', 'Dockerfile']));
    const answer = await daemon.ask('POST', '/build?t=app', { headers: { traceparent: client }, body });
    expect(answer.text).toContain('Successfully built');
    await daemon.halt();
    const spans = received.flatMap(({ body: each }) => spansIn(each));
    const own = spans.find(({ name }) => name === 'build');
    expect(own).toMatchObject({ trace: client.slice(3, 35), parent: client.slice(36, 52), status: 1 });
    const step = spans.find(({ name }) => name.includes('COPY Dockerfile'));
    expect(step).toMatchObject({ trace: own?.trace, parent: own?.id });
  } finally {
    vi.unstubAllEnvs();
    await daemon.stop();
  }
});
