/**
 * A failure says what it has to say in headers, which clients take up to a size only (Node's 64 KiB, others 8 KiB): what
 * is too large for them is made smaller, and the connection lives on.
 */
import { connect as dial } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fitStatus } from '../../../src/engine/gateway/fit-status.ts';
import { marshal, scratch } from '../../../src/llb/llb.ts';
import { StatusSchema } from '../../../src/pb/google/rpc/status_pb.js';
import { Control } from '../../../src/pb/moby/buildkit/v1/control_pb.js';
import { closePool } from '../../../src/workers/pool.ts';
import { ControlKit, detailsOf, failure } from './control-kit.ts';

interface Source {
  info: { filename: string; data: string };
  ranges: { start: { line: number } }[];
}
const linesOf = ({ info }: Source) => Buffer.from(info.data, 'base64').toString().split('\n');

let kit: ControlKit;
beforeAll(async () => {
  kit = await ControlKit.start({});
});
afterAll(async () => {
  await kit.daemon.stop();
  await closePool();
});

/** The failure of a Dockerfile of about `size` bytes whose line 500 has no such file. */
async function failing(size: number) {
  const lines = Array.from({ length: 1000 }, (_, i) => `# ${i + 1} `.padEnd(size / 1000, 'x'));
  lines[0] = 'FROM scratch';
  lines[499] = 'COPY nothing /';
  const dir = kit.folder({ Dockerfile: lines.join('\n') });
  const dirs = { context: dir, dockerfile: dir };
  return { lines, err: await failure(kit.solve({ Frontend: 'dockerfile.v0' }, { dirs })) };
}

test.each([60_000, 200_000, 1_000_000])(
  'the lines around a failure in a Dockerfile of %i bytes',
  async (size) => {
    const { lines, err } = await failing(size);
    expect(err.rawMessage).toContain('nothing');
    const source = detailsOf(err)['errdefs.Source+json'] as Source;
    expect(source.info.filename).toBe('Dockerfile');
    expect(source.ranges[0]?.start.line).toBe(500);
    // Each line has its number still.
    const told = linesOf(source);
    for (let line = 497; line <= 503; line++) expect(told[line - 1]).toBe(lines[line - 1]?.slice(0, 1000));
    expect(told[100]).toBe('');
    // The connection is there for the next call.
    expect((await kit.control.info({})).buildkitVersion?.version).toBeTruthy();
  },
);

test('a small Dockerfile comes whole', async () => {
  const { lines, err } = await failing(20_000);
  expect(linesOf(detailsOf(err)['errdefs.Source+json'] as Source)).toEqual(lines);
});

test('a step with 900 mounts is left out; which step it was is told', async () => {
  const mounts = Array.from({ length: 900 }, (_, i) => ({
    target: `/a/long/place/for/a/mount/${i}`,
    source: scratch(),
    readonly: true,
  }));
  const err = await failure(
    kit.solve({ Definition: marshal(scratch().run(['/nothing', 'at', 'all'], { mounts }).root()) }),
  );
  expect(err.rawMessage).toContain('/nothing at all');
  const details = detailsOf(err);
  expect(details['errdefs.Vertex+json']).toEqual({ digest: expect.stringMatching(/^sha256:/) });
  expect(details['errdefs.Solve+json']).toBeUndefined();
});

test('a long message has its middle left out', async () => {
  const args = ['/nothing', `first ${'\n☺'.repeat(20_000)} last`];
  const err = await failure(kit.solve({ Definition: marshal(scratch().run(args).root()) }));
  expect(err.rawMessage).toMatch(/first .*\[…\].*last/s);
});

test('a client that takes little is told little', async () => {
  const transport = createGrpcTransport({
    baseUrl: 'http://localhost',
    nodeOptions: {
      createConnection: () => dial(kit.daemon.socket),
      settings: { maxHeaderListSize: 8192 },
    },
  });
  const control = createClient(Control, transport);
  const long = `/${'x'.repeat(4000)}`;
  const Definition = marshal(scratch().run([long]).root());
  const err = await failure(control.solve({ Ref: 'little', Definition }));
  expect(err.rawMessage).toMatch(/xxx.*\[…\]/);
  expect(detailsOf(err)['errdefs.Vertex+json']).toBeDefined();
  expect(detailsOf(err)['errdefs.Solve+json']).toBeUndefined();
  expect((await control.info({})).buildkitVersion?.version).toBeTruthy();
});

describe('a status for a client that takes N bytes', () => {
  const detail = (type: string, value: Uint8Array) =>
    create(AnySchema, { typeUrl: `github.com/moby/buildkit/${type}+json`, value });
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const source = fc
    .record({
      info: fc.record({
        filename: fc.string(),
        data: fc.string({ maxLength: 20_000 }).map((text) => Buffer.from(text).toString('base64')),
        definition: fc.option(fc.record({ def: fc.array(fc.string()) }), { nil: undefined }),
      }),
      ranges: fc.array(
        fc.record({ start: fc.record({ line: fc.integer() }), end: fc.record({ line: fc.integer() }) }),
      ),
    })
    .map((value) => detail('errdefs.Source', json(value)));
  const any = fc
    .tuple(fc.constantFrom('errdefs.Source', 'errdefs.Solve', 'gatewayapi.ExitMessage'), fc.json())
    .map(([type, text]) => detail(type, Buffer.from(text)));
  const bytes = fc.uint8Array({ maxLength: 9000 }).map((value) => detail('errdefs.Source', value));

  test('is never larger, whatever a frontend put into it', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 30_000 }),
        fc.array(fc.oneof(source, any, bytes), { maxLength: 12 }),
        fc.integer({ min: 2000, max: 60 << 10 }),
        (message, details, room) => {
          const fitted = fitStatus(create(StatusSchema, { code: 2, message, details }), room);
          const encoded = Math.ceil((toBinary(StatusSchema, fitted).length * 4) / 3);
          expect(encoded + encodeURIComponent(fitted.message).length + 200).toBeLessThanOrEqual(room);
        },
      ),
    );
  });
});
