/**
 * Requests of many small parts that nobody would write: attributes of outputs and caches, outputs, attributes that a
 * policy sets, and places of a step in its file. They are refused, or read as far as anybody could use them.
 */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { image, marshal, mkfile, rm, scratch } from '../../src/llb/llb.ts';
import { SolveRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { SourceSchema } from '../../src/pb/solver/pb/ops_pb.js';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { rawCall } from '../kit/raw-grpc.ts';
import { mostHold, usualHold } from '../kit/thread-time.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
});
afterAll(() => daemon.stop());

type Request = MessageInitShape<typeof SolveRequestSchema>;

const many = <T>(count: number, item: (i: number) => T) => Array.from({ length: count }, (_, i) => item(i));
const attrs = (count: number) => Object.fromEntries(many(count, (i) => [`annotation.a${i}`, 'b']));
const file = marshal(scratch().file(mkfile('/a', 'a')));
const policy = (updates: { attrs: Record<string, string> }) => ({
  version: 1n,
  rules: [{ action: 2, selector: { identifier: 'docker-image://*' }, updates }],
});

/** Solves it as often as it takes, each time as a build of its own; gives the hold and what the last one ended with. */
async function solve(request: Request): Promise<{ hold: number; said: string }> {
  const messages = many(4, () =>
    toBinary(SolveRequestSchema, create(SolveRequestSchema, { ...request, Ref: String(Math.random()) })),
  );
  let said = '';
  const hold = await usualHold(async (attempt) => {
    said = await rawCall(daemon.socket, 'Control/Solve', messages[attempt] as Uint8Array);
  }, messages.length);
  return { hold, said };
}

test.each<[string, Request, string]>([
  [
    'attributes of outputs',
    { Definition: file, Exporters: many(2, () => ({ Type: 'image', Attrs: attrs(5001) })) },
    "the outputs' attributes are too large: 10002",
  ],
  [
    'attributes of an output that an old client names',
    { Definition: file, ExporterDeprecated: 'image', ExporterAttrsDeprecated: attrs(10_001) },
    "the outputs' attributes are too large: 10001",
  ],
  [
    'attributes of caches',
    { Definition: file, Cache: { Imports: [{ Type: 'registry', Attrs: attrs(10_001) }] } },
    "the caches' attributes are too large: 10001",
  ],
  [
    'outputs',
    { Definition: file, Exporters: many(129, () => ({ Type: 'image' })) },
    'the build names 129 outputs, at most 128',
  ],
  [
    'caches to export',
    { Definition: file, Cache: { Exports: many(129, () => ({ Type: 'inline' })) } },
    'the build names 129 caches to export, at most 128',
  ],
  [
    'attributes that a policy sets',
    { Definition: marshal(image('localhost:1/a')), SourcePolicy: policy({ attrs: attrs(2001) }) },
    'the source policies have more than 2000 attributes',
  ],
])('more %s than anybody needs are refused', async (_, request, said) => {
  const made = await solve(request);
  expect(made.said).toContain(said);
  expect(made.hold).toBeLessThan(mostHold);
});

test('of the places of a step that fails, those are told that somebody could read', async () => {
  const step = marshal(scratch().file(rm('/nothing')));
  const ranges = many(5000, (line) => ({ start: { line }, end: { line: line + 90 } }));
  const infos = [{ filename: 'Dockerfile', data: Buffer.alloc(20_000, 'a\n') }];
  const all = Object.keys(step.metadata).map((digest) => [digest, { locations: [{ ranges }] }]);
  const { hold, said } = await solve({
    Definition: { ...step, Source: create(SourceSchema, { infos, locations: Object.fromEntries(all) }) },
  });
  expect(said).toContain('/nothing');
  expect(hold).toBeLessThan(mostHold);
});

test('the end of a build does not hang on how much is remembered of others', async () => {
  const large = { Definition: file, FrontendAttrs: { large: 'x'.repeat(2_000_000) } };
  for (const Ref of many(30, (i) => `large-${i}`))
    await rawCall(
      daemon.socket,
      'Control/Solve',
      toBinary(SolveRequestSchema, create(SolveRequestSchema, { ...large, Ref })),
    );
  expect((await solve({ Definition: file })).hold).toBeLessThan(mostHold);
});
