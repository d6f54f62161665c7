/**
 * Messages that are made of millions of parts of two bytes, each of which becomes an object: to every method of
 * BuildKit's API, to a frontend's gateway, and as the answers of a client. They cost neither the main thread nor memory.
 */
import { connect } from 'node:http2';
import { duplexPair } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { create, type DescField, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import type { Gateway } from '../../src/engine/gateway/gateway.ts';
import { serveGateway } from '../../src/engine/gateway/serve.ts';
import { image, marshal, merge } from '../../src/llb/llb.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { Content } from '../../src/pb/containerd/content_pb.js';
import { Control, SolveRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { LLBBridge } from '../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { TraceService } from '../../src/pb/otlp/trace_service_pb.js';
import { DefinitionSchema } from '../../src/pb/solver/pb/ops_pb.js';
import { SessionManager } from '../../src/session/manager.ts';
import type { ClientSession } from '../../src/session/types.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { callOn, rawCall } from '../kit/raw-grpc.ts';
import { join } from '../kit/session/duplex-pair.ts';
import type { Handler } from '../kit/session/grpc-server.ts';
import { SessionClient } from '../kit/session/session-client.ts';
import { mostHold, usualHold } from '../kit/thread-time.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
});
afterAll(() => daemon.stop());

const services = [Control, LLBBridge, Content, TraceService];
const methods = services.flatMap(({ typeName, methods }) =>
  methods.map(({ name, input }): [string, DescField[]] => [`/${typeName}/${name}`, input.fields]),
);

/** Those whose client sends more than one message. Session's are bytes and nothing else. */
const streams = new Set(
  services.flatMap(({ typeName, methods }) =>
    methods
      .filter(({ methodKind }) => methodKind === 'bidi_streaming')
      .map(({ name }) => `/${typeName}/${name}`),
  ),
);

/** 16 MiB of a part, of as many as the message holds. */
const parts = (part: number[]) =>
  Buffer.alloc(16 << 20, Buffer.from(part)).subarray(0, (16 << 20) - ((16 << 20) % part.length));

describe.each(methods)('%s', (path, fields) => {
  // A field that nobody knows; and the messages, the lists and the maps of those that have many.
  const has = path.endsWith('/Solve') || path.endsWith('/NewContainer') || path.endsWith('/Export');
  const lists = fields.filter(
    ({ message, fieldKind }) => has && (fieldKind === 'map' || message !== undefined),
  );
  const kinds: [string, number[]][] = [
    ...lists.map(({ name, number }): [string, number[]] => [name, [...tag(number), 0]]),
    ['an unknown field', [0xfa, 0x07, 0x00]],
  ];
  test.each(kinds)('%s', async (_, part) => {
    const message = parts(part);
    let said = '';
    const before = process.memoryUsage.rss();
    const hold = await usualHold(async () => {
      // A stream that is answered before its message has come is broken off.
      said = await rawCall(daemon.socket, path, message).catch(String);
    }, 2);
    if (!streams.has(path)) expect(said).toContain('the message has too many parts');
    expect(hold).toBeLessThan(mostHold);
    expect(process.memoryUsage.rss() - before).toBeLessThan(400 << 20);
  });
});

/** The bytes of a field's tag, for a field that has a length. */
function tag(number: number): number[] {
  const value = (number << 3) | 2;
  return value < 128 ? [value] : [(value & 127) | 128, value >> 7];
}

test.each([
  ['JSON', { type: 'application/grpc+json' }, '12 only messages of protobuf are taken: application/grpc'],
  ['gzip', { packed: 'gzip' }, '12 unknown compression "gzip"'],
  ['br', { packed: 'br' }, '12 unknown compression "br"'],
])('a message that is %s is not read at all', async (_, how, answer) => {
  const json = Buffer.from(`{"Exporters":[${'{},'.repeat(1_000_000)}{}]}`);
  let said = '';
  const hold = await usualHold(async () => {
    said = await rawCall(daemon.socket, 'Control/Solve', 'type' in how ? json : gzipSync(json), how);
  });
  expect(said).toContain(answer);
  expect(hold).toBeLessThan(mostHold);
});

test('a definition of 40,000 ops, which has as many parts as that takes, is read and solved', async () => {
  const step = (i: number) => image('127.0.0.1:1/a').run(`true ${i}`).root();
  const definition = create(DefinitionSchema, marshal(merge([step(0), step(1)])));
  for (let group = 0; group < 20; group++) {
    const states = Array.from({ length: 2000 }, (_, i) => step(group * 2000 + i));
    const { def, metadata } = marshal(merge(states));
    definition.def.unshift(...def.slice(0, -1));
    Object.assign(definition.metadata, metadata);
  }
  expect(definition.def.length).toBeGreaterThan(40_000);
  const messages = ['a', 'b', 'c', 'd'].map((Ref) =>
    toBinary(SolveRequestSchema, create(SolveRequestSchema, { Ref, Definition: definition })),
  );
  let said = '';
  const hold = await usualHold(async (attempt) => {
    said = await rawCall(daemon.socket, 'Control/Solve', messages[attempt] as Uint8Array);
  }, messages.length);
  expect(said).toContain('127.0.0.1:1');
  expect(hold).toBeLessThan(mostHold);
});

describe('of a client', () => {
  const manager = new SessionManager({ log: () => {} });
  afterAll(() => manager.close());
  const kinds: [string, string, (session: ClientSession) => Promise<unknown>][] = [
    ['secret', '/moby.buildkit.secrets.v1.Secrets/GetSecret', (session) => session.secret('a')],
    ['password', '/moby.filesync.v1.Auth/Credentials', (session) => session.credentials('localhost:1')],
    [
      'blob',
      '/containerd.services.content.v1.Content/Info',
      async (session) => (await session.content?.('a'))?.size(digestOf(Buffer.alloc(0))),
    ],
    [
      'policy',
      '/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy',
      (session) => session.checkPolicy({ Source: { Source: { identifier: 'docker-image://a' } } }),
    ],
  ];
  test.each(kinds)('the answer to a question for a %s', async (_, method, ask) => {
    const answer: Handler = async (call) => void (await call.send(parts([0xfa, 0x07, 0x00])));
    const client = new SessionClient({ handlers: { [method]: answer } });
    const session = join(manager, client);
    const hold = await usualHold(async () => {
      await expect(ask(session)).rejects.toThrow('too many parts');
    });
    client.close();
    expect(hold).toBeLessThan(mostHold);
  });
});

test('of a frontend that runs in a container', async () => {
  const [ours, theirs] = duplexPair();
  const service = { solve: () => ({}) };
  void serveGateway({ service } as unknown as Gateway, ours);
  const client = connect('http://localhost', { createConnection: () => theirs });
  const path = '/moby.buildkit.v1.frontend.LLBBridge/Solve';
  const hold = await usualHold(async () => {
    expect(await callOn(client, path, parts([0x6a, 0x00]))).toContain('too many parts');
    expect(await callOn(client, path, parts([0x0a, 0x05]))).toContain('not one of protobuf');
    expect(await callOn(client, path, parts([0xfa, 0x07, 0x00]))).toContain('too many parts');
    expect(await callOn(client, path, Buffer.alloc(0))).toBe('0 ');
  });
  client.destroy();
  expect(hold).toBeLessThan(mostHold);
});
