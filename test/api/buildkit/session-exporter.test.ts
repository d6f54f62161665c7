/** A client that chooses its exporters once it has seen the result (EnableSessionExporter). */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildIdHeader } from '../../../src/api/buildkit/gateway/service.ts';
import { LLBBridge } from '../../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import {
  type ExporterRequestSchema,
  FinalizeExportRequestSchema,
  FindExportersRequestSchema,
  FindExportersResponseSchema,
} from '../../../src/pb/session/exporter_pb.js';
import { closePool } from '../../../src/workers/pool.ts';
import { type Call, type Handler, Status } from '../../kit/session/grpc-server.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, failure } from './control-kit.ts';

const method = (name: string) => `/moby.exporter.v1.Exporter/${name}`;

async function request(call: Call): Promise<Uint8Array> {
  for await (const message of call.messages) return message;
  throw new Error('no request');
}

onStores('EnableSessionExporter', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(async () => {
    await kit.daemon.stop();
    await closePool();
  });

  /** Builds with a client that wants these exporters; gives what it saw of the result and what it was told at the end. */
  async function build(
    wanted: MessageInitShape<typeof ExporterRequestSchema>[],
    more: {
      Exporters?: { Type: string; Attrs: Record<string, string> }[];
      handlers?: Record<string, Handler>;
    } = {},
  ) {
    const ref = randomUUID();
    const seen: string[] = [];
    const told: Record<string, string>[] = [];
    const bridge = createClient(LLBBridge, kit.transport);
    const context = kit.folder({ Dockerfile: 'FROM scratch\nCOPY f g /\n', f: 'f', g: 'g' });
    const file = join(kit.folder({}), 'out.tar');
    const first = more.Exporters?.length ?? 0;
    const session = {
      dirs: { context, dockerfile: context },
      outputs: { [first]: { file } },
      handlers: {
        [method('FindExporters')]: async (call: Call) => {
          const { refs } = fromBinary(FindExportersRequestSchema, await request(call));
          for (const each of refs) {
            const headers = { [buildIdHeader]: ref };
            const { entries } = await bridge.readDir({ Ref: each, DirPath: '/' }, { headers });
            seen.push(...entries.map(({ path }) => path));
          }
          const answer = create(FindExportersResponseSchema, { exporters: wanted });
          await call.send(toBinary(FindExportersResponseSchema, answer));
        },
        [method('FinalizeExport')]: async (call: Call) => {
          told.push({ ...fromBinary(FinalizeExportRequestSchema, await request(call)).exporterResponse });
          await call.send(new Uint8Array());
        },
        ...more.handlers,
      },
    };
    const { Exporters = [] } = more;
    const { response } = await kit.solve(
      { Ref: ref, Frontend: 'dockerfile.v0', EnableSessionExporter: true, Exporters },
      session,
    );
    return { seen, told, response, file };
  }

  test('it looks at the result, chooses, gets the archive, and is told the end', async () => {
    const { seen, told, response, file } = await build([{ Type: 'oci', Attrs: { compression: 'zstd' } }]);
    expect(seen).toEqual(['f', 'g']);
    expect(execFileSync('tar', ['tf', file], { encoding: 'utf8' })).toContain('index.json');
    expect(response['containerimage.digest']).toMatch(/^sha256:/);
    expect(told).toEqual([response]);
  });

  test('its outputs come after those of the request', async () => {
    const Exporters = [{ Type: 'image', Attrs: { name: 'reg.example/first:1' } }];
    const { file } = await build([{ Type: 'tar' }], { Exporters });
    expect(execFileSync('tar', ['tf', file], { encoding: 'utf8' })).toBe('f\ng\n');
  });

  test('a client that chooses none, or has no such service, gets none', async () => {
    expect((await build([])).told).toHaveLength(1);
    const statuses = [new Status(12, 'unimplemented'), new Status(14, 'no callback registered')];
    for (const status of statuses) {
      const missing: Handler = () => {
        throw status;
      };
      const handlers = { [method('FindExporters')]: missing, [method('FinalizeExport')]: missing };
      const { file } = await build([{ Type: 'oci' }], { handlers });
      expect(existsSync(file)).toBe(false);
    }
  });

  test('a client that chooses none is told what its request had made', async () => {
    const unavailable: Handler = () => {
      throw new Status(14, 'no callback registered');
    };
    const { told, response } = await build([], {
      Exporters: [{ Type: 'image', Attrs: { name: 'reg.example/told:1' } }],
      handlers: { [method('FindExporters')]: unavailable },
    });
    expect(response['containerimage.digest']).toMatch(/^sha256:/);
    expect(told).toEqual([response]);
  });

  test('what it answers wrongly, and what it fails with at the end, fails the build', async () => {
    expect((await failure(build([{ Type: 'zip' }]))).rawMessage).toContain(
      'exporter "zip" could not be found',
    );
    const handlers: Record<string, Handler> = {
      [method('FinalizeExport')]: () => {
        throw new Status(9, 'the release is closed');
      },
    };
    expect((await failure(build([], { handlers }))).rawMessage).toContain('the release is closed');
    const none = kit.control.solve({ Frontend: 'dockerfile.v0', EnableSessionExporter: true });
    expect((await failure(none)).rawMessage).toContain('needs a session');
  });
});
