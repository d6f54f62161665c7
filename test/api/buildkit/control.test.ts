/** moby.buildkit.v1.Control as buildctl and buildx use it, on either store. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withHead } from '../../../src/grpc/headed-stream.ts';
import { local, marshal, scratch } from '../../../src/llb/llb.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { hostPlatform } from '../../../src/oci/platform.ts';
import { Health, HealthCheckResponse_ServingStatus } from '../../../src/pb/grpc/health_pb.js';
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
} from '../../../src/pb/grpc/reflection_pb.js';
import { BuildHistoryEventType, Control } from '../../../src/pb/moby/buildkit/v1/control_pb.js';
import { PolicyAction, type RuleSchema } from '../../../src/pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import { TraceService } from '../../../src/pb/otlp/trace_service_pb.js';
import { DefinitionSchema, OpSchema } from '../../../src/pb/solver/pb/ops_pb.js';
import { closePool } from '../../../src/workers/pool.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, detailsOf, failure, transportOver } from './control-kit.ts';

const dockerfile = 'FROM scratch\nCOPY hello.txt /hello.txt\nLABEL from=dockerfile\n';

afterAll(closePool);

onStores('Control', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(() => kit.daemon.stop());

  const context = () => {
    const dir = kit.folder({ Dockerfile: dockerfile, 'hello.txt': 'hello' });
    return { dirs: { context: dir, dockerfile: dir } };
  };
  const frontend = { Frontend: 'dockerfile.v0' };

  test('a Dockerfile build: the folders come over the session, the image is named, Status tells the steps', async () => {
    const { response, status } = await kit.solve(
      {
        ...frontend,
        FrontendAttrs: { 'label:who': 'me' },
        Exporters: [{ Type: 'image', Attrs: { name: 'example.com/app:1,example.com/app:2' } }],
      },
      context(),
    );
    expect(response['image.name']).toBe('example.com/app:1,example.com/app:2');
    expect(response['containerimage.digest']).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(response['containerimage.config.digest']).toMatch(/^sha256:[0-9a-f]{64}$/);
    const descriptor = JSON.parse(
      Buffer.from(response['containerimage.descriptor'] ?? '', 'base64').toString(),
    );
    expect(descriptor.digest).toBe(response['containerimage.digest']);
    const { engine } = kit.daemon;
    expect((await engine.store.images.get('example.com/app:2'))?.target.digest).toBe(descriptor.digest);
    const config = JSON.parse(
      (await engine.store.content.bytes(response['containerimage.config.digest'] as never)).toString(),
    );
    expect(config.config.Labels).toEqual({ from: 'dockerfile', who: 'me' });
    const names = status.flatMap(({ vertexes }) => vertexes.map(({ name }) => name));
    expect(names).toContain('[1/1] COPY hello.txt /hello.txt');
    expect(names).toContain('exporting to image');
  });

  test('a definition, to a folder and an archive at the client at once', async () => {
    const dir = kit.folder({ a: 'one', 'sub/b': 'two' });
    const out = mkdtempSync(join(kit.daemon.dir, 'out-'));
    const archive = join(out, 'out.tar');
    await kit.solve(
      {
        Definition: marshal(scratch().copy(local('src'), '/sub', '/')),
        Exporters: [
          { Type: 'local', Attrs: {} },
          { Type: 'tar', Attrs: {} },
        ],
      },
      { dirs: { src: dir }, outputs: { 0: { dir: join(out, 'files') }, 1: { file: archive } } },
    );
    expect(readFileSync(join(out, 'files/sub/b'), 'utf8')).toBe('two');
    expect(execFileSync('tar', ['tf', archive], { encoding: 'utf8' })).toContain('sub/b\n');
  });

  test('the single exporter of clients before BuildKit 0.13', async () => {
    const out = mkdtempSync(join(kit.daemon.dir, 'out-'));
    const { response } = await kit.solve(
      { ...frontend, ExporterDeprecated: 'oci', ExporterAttrsDeprecated: { name: 'old' } },
      { ...context(), outputs: { 0: { file: join(out, 'oci.tar') } } },
    );
    expect(response['containerimage.digest']).toMatch(/^sha256:/);
    expect(execFileSync('tar', ['tf', join(out, 'oci.tar')], { encoding: 'utf8' })).toContain('index.json');
  });

  test('without an exporter the build runs and gives nothing', async () => {
    const { response } = await kit.solve(frontend, context());
    expect(response).toEqual({});
  });

  test('a failed step: vertex, place in the Dockerfile and exit code are typed details', async () => {
    const text =
      'FROM scratch\nCOPY busybox /busybox\nRUN ["/busybox", "sh", "-c", \\\n  "echo so it goes; exit 7"]\n';
    const dir = kit.folder({ Dockerfile: text });
    execFileSync('cp', ['/bin/busybox', dir]);
    const err = await failure(kit.solve(frontend, { dirs: { context: dir, dockerfile: dir } }));
    expect(err.code).toBe(Code.Unknown);
    expect(err.rawMessage).toContain('did not complete successfully: exit code: 7');
    const details = detailsOf(err);
    expect(details['errdefs.Vertex+json']).toEqual({ digest: expect.stringMatching(/^sha256:/) });
    expect(details['gatewayapi.ExitMessage+json']).toEqual({ Code: 7 });
    const source = details['errdefs.Source+json'] as {
      info: { filename: string; data: string; definition: { def: string[] } };
      ranges: { start: { line: number } }[];
    };
    expect(source.info.filename).toBe('Dockerfile');
    expect(Buffer.from(source.info.data, 'base64').toString()).toBe(text);
    // A range for each line, and the LLB that gives the file.
    expect(source.ranges.map(({ start }) => start.line)).toEqual([3, 4]);
    expect(source.info.definition.def).toHaveLength(2);
  });

  test('an older client may ask for older defaults, and describe the image itself', async () => {
    const Exporters = [
      {
        Type: 'image',
        Attrs: {
          name: 'example.com/described:1',
          'containerimage.config': JSON.stringify({ config: { Labels: { from: 'client' } } }),
        },
      },
    ];
    const Definition = marshal(scratch());
    const { response } = await kit.solve({ Definition, CompatibilityVersion: 10n, Exporters });
    const { content } = kit.daemon.engine.store;
    const read = async (digest: string | undefined) =>
      JSON.parse((await content.bytes(digest as never)).toString());
    expect((await read(response['containerimage.digest'])).mediaType).toBe(
      'application/vnd.docker.distribution.manifest.v2+json',
    );
    expect((await read(response['containerimage.config.digest'])).config.Labels).toEqual({ from: 'client' });
    const err = await failure(kit.solve({ Definition, CompatibilityVersion: 11n }));
    expect(err.rawMessage).toContain('unsupported compatibility-version 11');
  });

  test('a source policy of the request: images are converted before they are looked up, or denied', async () => {
    const Exporters = [{ Type: 'image', Attrs: { name: 'example.com/base:1' } }];
    await kit.solve({ ...frontend, Exporters }, context());
    const dir = kit.folder({ Dockerfile: 'FROM old:1\nLABEL more=1\n' });
    const selector = { identifier: 'docker-image://docker.io/library/old:*' };
    const updates = { identifier: 'docker-image://example.com/base:$1' };
    const build = (rules: MessageInitShape<typeof RuleSchema>[]) =>
      kit.solve(
        {
          ...frontend,
          SourcePolicy: { version: 1n, rules },
          Exporters: [{ Type: 'image', Attrs: { name: 'example.com/converted:1' } }],
        },
        { dirs: { context: dir, dockerfile: dir } },
      );
    const { response } = await build([{ action: PolicyAction.CONVERT, selector, updates }]);
    const digest = response['containerimage.config.digest'] as never;
    const config = JSON.parse((await kit.daemon.engine.store.content.bytes(digest)).toString());
    expect(config.config.Labels).toEqual({ from: 'dockerfile', more: '1' });
    const err = await failure(build([{ action: PolicyAction.DENY, selector }]));
    expect(err.rawMessage).toContain('source "docker-image://docker.io/library/old:1" denied by policy');
  });

  test('a source policy puts a folder of the client in the place of a named context’s image', async () => {
    const main = kit.folder({
      Dockerfile: 'FROM scratch AS replace\nFROM scratch\nCOPY --from=replace /foo /\n',
    });
    const test = kit.folder({ foo: 'put in place' });
    const dir = kit.folder({});
    const { status } = await kit.solve(
      {
        ...frontend,
        FrontendAttrs: { 'context:replace': 'docker-image:docker.io/library/alpine:latest' },
        SourcePolicy: {
          version: 1n,
          rules: [
            {
              action: PolicyAction.CONVERT,
              selector: { identifier: 'docker-image://docker.io/library/alpine:latest' },
              updates: { identifier: 'local://test' },
            },
          ],
        },
        Exporters: [{ Type: 'local', Attrs: {} }],
      },
      { dirs: { context: main, dockerfile: main, test }, outputs: { 0: { dir } } },
    );
    expect(readFileSync(join(dir, 'foo'), 'utf8')).toBe('put in place');
    // Clients add up what was transferred by the name of what is done.
    const transfers = status
      .flatMap(({ statuses }) => statuses)
      .filter(({ ID }) => /^transferring /.test(ID));
    expect(new Set(transfers.map(({ name }) => name))).toEqual(new Set(['transferring']));
  });

  test.each<[string, MessageInitShape<typeof RuleSchema>, string]>([
    ['no selector', { action: PolicyAction.CONVERT }, 'invalid nil selector in policy'],
    ['no action', { action: 9000 as never, selector: { identifier: 'docker-image://x' } }, 'unknown type'],
    [
      'nothing to convert to',
      { action: PolicyAction.CONVERT, selector: { identifier: 'docker-image://x' } },
      'missing destination for convert rule',
    ],
  ])('a rule of a source policy with %s is refused', async (_, rule, message) => {
    const err = await failure(
      kit.solve({ ...frontend, SourcePolicy: { version: 1n, rules: [rule] } }, context()),
    );
    expect(err.rawMessage).toContain(message);
  });

  test('a file that a COPY wants and that is not there is a step’s failure, without a code of its own', async () => {
    const dir = kit.folder({ Dockerfile: 'FROM scratch\nCOPY --parents /none/file /\n' });
    const err = await failure(kit.solve(frontend, { dirs: { context: dir, dockerfile: dir } }));
    expect(err.code).toBe(Code.Unknown);
    expect(err.rawMessage).toMatch(/failed to calculate checksum of ref \S+: "\/none\/file": not found/);
  });

  test('a definition inside a definition gets no more than the build was granted', async () => {
    const { def } = marshal(scratch().run(['/busybox', 'true'], { security: 'insecure' }));
    const outer = create(OpSchema, {
      op: { case: 'build', value: { builder: -1n, def: { def } } },
    });
    const bytes = toBinary(OpSchema, outer);
    const end = create(OpSchema, { inputs: [{ digest: digestOf(bytes), index: 0n }] });
    const err = await failure(kit.solve({ Definition: { def: [bytes, toBinary(OpSchema, end)] } }));
    expect(err.rawMessage).toContain('entitlement security.insecure is not allowed');
  });

  test('a client that goes away takes its build with it', async () => {
    const text = 'FROM scratch\nCOPY busybox /busybox\nRUN ["/busybox", "sleep", "600"]\n';
    const dir = kit.folder({ Dockerfile: text });
    execFileSync('cp', ['/bin/busybox', dir]);
    const session = kit.session({ dirs: { context: dir, dockerfile: dir } });
    const gone = new AbortController();
    const solving = failure(
      kit.control.solve({ Ref: 'gone', Session: session.id, ...frontend }, { signal: gone.signal }),
    );
    for await (const { vertexes } of kit.control.status({ Ref: 'gone' })) {
      if (vertexes.some(({ name, started }) => started !== undefined && name.includes('sleep'))) gone.abort();
    }
    expect((await solving).code).toBe(Code.Canceled);
    session.close();
    const { leases } = kit.daemon.engine.store;
    expect((await leases.list()).filter(({ id }) => id.startsWith('build-'))).toEqual([]);
  });

  test('disk usage and prune, with filters', async () => {
    await kit.solve(frontend, context());
    const { record } = await kit.control.diskUsage({});
    expect(record.length).toBeGreaterThan(0);
    const { record: locals } = await kit.control.diskUsage({ filter: ['type==source.local'] });
    expect(locals.length).toBeGreaterThan(0);
    expect(locals.every(({ RecordType, Mutable }) => RecordType === 'source.local' && Mutable)).toBe(true);
    const pruned: string[] = [];
    for await (const { RecordType } of kit.control.prune({ filter: ['type==source.local'] })) {
      pruned.push(RecordType);
    }
    expect(new Set(pruned)).toEqual(new Set(['source.local']));
    expect((await kit.control.diskUsage({ filter: ['type==source.local'] })).record).toEqual([]);
    for await (const _ of kit.control.prune({ all: true })) {
      // All that no image holds goes.
    }
    expect((await kit.control.diskUsage({ filter: ['inuse==true'] })).record).toEqual([]);
  });

  test('the worker tells which store it is on', async () => {
    const [worker] = (await kit.control.listWorkers({})).record;
    expect(worker?.Labels['org.mobyproject.buildkit.worker.executor']).toBe(
      store.kind === 'local' ? 'oci' : 'containerd',
    );
    expect(worker?.Labels['org.mobyproject.buildkit.worker.snapshotter']).toBe('overlayfs');
    const platforms = worker?.platforms.map(({ OS, Architecture, Variant }) => ({
      os: OS,
      architecture: Architecture,
      variant: Variant || undefined,
    }));
    // This machine's first, then its variants and whatever else runs here.
    expect(platforms?.[0]).toMatchObject(hostPlatform());
    expect(platforms).toEqual(await kit.daemon.engine.emulation.platforms());
    expect((await kit.control.listWorkers({ filter: ['id==other'] })).record).toEqual([]);
    const again = (await kit.control.listWorkers({ filter: [`id==${worker?.ID}`] })).record;
    expect(again.map(({ ID }) => ID)).toEqual([worker?.ID]);
    expect((await kit.control.info({})).buildkitVersion?.version).toMatch(/^v0\.\d+\.\d+/);
  });
});

describe('Control', () => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start({}, { history: { maxEntries: 3 }, entitlements: ['network.host'] });
  });
  afterAll(() => kit.daemon.stop());

  test('a build that has ended is told of as if it ran, also after a restart', async () => {
    const dir = kit.folder({ Dockerfile: dockerfile, 'hello.txt': 'hello' });
    const { ref, status } = await kit.solve(
      { Frontend: 'dockerfile.v0' },
      { dirs: { context: dir, dockerfile: dir } },
    );
    const names = async () => {
      const found: string[] = [];
      for await (const { vertexes } of kit.control.status({ Ref: ref })) {
        found.push(...vertexes.map(({ name }) => name));
      }
      return new Set(found);
    };
    expect(await names()).toEqual(
      new Set(status.flatMap(({ vertexes }) => vertexes.map(({ name }) => name))),
    );
    await kit.daemon.halt();
    await kit.daemon.start();
    expect((await names()).size).toBeGreaterThan(0);
  });

  test('history: builds are listed, pinned, deleted and limited', async () => {
    const list = async (request: Parameters<typeof kit.control.listenBuildHistory>[0] = {}) => {
      const found = [];
      for await (const event of kit.control.listenBuildHistory({ EarlyExit: true, ...request }))
        found.push(event);
      return found;
    };
    const first = await kit
      .solve({ Frontend: 'dockerfile.v0' }, { dirs: emptyContext() })
      .catch((err) => err);
    expect(String(first)).toContain('Dockerfile');
    const [failed] = await list({ Limit: 1 });
    expect(failed?.type).toBe(BuildHistoryEventType.COMPLETE);
    expect(failed?.record?.error?.message).toContain('Dockerfile');
    const ref = failed?.record?.Ref ?? '';
    await kit.control.updateBuildHistory({ Ref: ref, Pinned: true });
    for (let i = 0; i < 4; i++) {
      const Ref = `build-${i}`;
      await kit.control.solve({ Ref, Definition: copyOf(), Session: '' }).catch(() => {});
      // Records have the order in which they are written.
      await expect
        .poll(async () => (await list({ Ref })).map(({ type }) => type))
        .toEqual([BuildHistoryEventType.COMPLETE]);
    }
    const refs = (await list()).map(({ record }) => record?.Ref);
    expect(refs).toHaveLength(4);
    expect(refs).toContain(ref);
    expect(refs).not.toContain('build-0');
    await kit.control.updateBuildHistory({ Ref: ref, Delete: true });
    expect(await list({ Ref: ref })).toEqual([]);
    const err = await failure(kit.control.updateBuildHistory({ Ref: ref, Delete: true }));
    expect(err.code).toBe(Code.NotFound);
  });

  const emptyContext = () => {
    const dir = kit.folder({});
    return { context: dir, dockerfile: dir };
  };
  const copyOf = () => marshal(scratch().copy(local('src'), '/', '/'));

  test('a build that nobody knows', async () => {
    const err = await failure(
      (async () => {
        for await (const _ of kit.control.status({ Ref: 'nobody' })) void _;
      })(),
    );
    expect([err.code, err.rawMessage]).toEqual([Code.NotFound, 'no such job nobody']);
  });

  test('two builds of one reference do not run at once', async () => {
    const session = kit.session({
      dirs: {},
      handlers: { '/moby.filesync.v1.FileSync/DiffCopy': () => new Promise(() => {}) },
    });
    const gone = new AbortController();
    const first = failure(
      kit.control.solve({ Ref: 'twice', Session: session.id, Definition: copyOf() }, { signal: gone.signal }),
    );
    const watching = kit.control.status({ Ref: 'twice' })[Symbol.asyncIterator]();
    await watching.next();
    const err = await failure(kit.control.solve({ Ref: 'twice', Definition: copyOf() }));
    expect([err.code, err.rawMessage]).toEqual([Code.AlreadyExists, 'job ID twice exists']);
    gone.abort();
    session.close();
    await first;
  });

  test.each([
    [
      'an exporter that is not there',
      { Exporters: [{ Type: 'imag', Attrs: {} }] },
      'exporter "imag" could not be found',
      'Did you mean image?',
    ],
    [
      'a frontend that is not there',
      { Frontend: 'dockerfil.v0' },
      'invalid frontend: dockerfil.v0',
      'dockerfile.v0',
    ],
    [
      'an unknown entitlement',
      { Entitlements: ['network.hst'] },
      'unknown entitlement "network.hst"',
      'network.host',
    ],
    [
      'an entitlement that is not configured',
      { Entitlements: ['security.insecure'] },
      'granting entitlement security.insecure is not allowed by build daemon configuration',
      '--allow-insecure-entitlement',
    ],
    [
      'a cache export',
      { Cache: { Exports: [{ Type: 'tape', Attrs: {} }] } },
      'unknown cache exporter: "tape"',
      'Types: ',
    ],
    [
      'an unknown cache export',
      { Cache: { Exports: [{ Type: 'regstry', Attrs: {} }] } },
      'unknown cache exporter: "regstry"',
      'registry',
    ],
    [
      'both a definition and a frontend',
      { Frontend: 'dockerfile.v0', Definition: { def: [new Uint8Array([1])] } },
      'cannot solve with both Definition and Frontend',
      '',
    ],
  ])('refused: %s', async (_, request, message, hint) => {
    const err = await failure(kit.control.solve({ Ref: '', ...request }));
    expect(err.rawMessage).toContain(message);
    expect(err.rawMessage).toContain(hint);
  });

  test('what is left out of a build is a warning', async () => {
    const dir = kit.folder({ Dockerfile: dockerfile, 'hello.txt': 'hello' });
    const { status } = await kit.solve(
      {
        Frontend: 'dockerfile.v0',
        Cache: { Imports: [{ Type: 'gha', Attrs: {} }] },
      },
      { dirs: { context: dir, dockerfile: dir } },
    );
    const said = status.flatMap(({ warnings }) => warnings.map(({ short }) => Buffer.from(short).toString()));
    expect(said.sort()).toEqual([expect.stringContaining('importing cache from type=gha')]);
  });

  describe('hostile definitions', () => {
    const op = (...inputs: string[]) =>
      toBinary(
        OpSchema,
        create(OpSchema, {
          inputs: inputs.map((digest) => ({ digest, index: 0n })),
          op: { case: 'merge', value: { inputs: inputs.map((_, i) => ({ input: BigInt(i) })) } },
        }),
      );
    test.each([
      ['no op at all', [new Uint8Array([0xff, 0xff])], 'failed to parse llb proto op'],
      ['an input that is not there', [op(`sha256:${'0'.repeat(64)}`)], 'invalid missing input digest'],
      ['an input without a name', [op('')], 'invalid missing input digest'],
    ])('%s', async (_, def, message) => {
      const err = await failure(
        kit.control.solve({ Ref: '', Definition: create(DefinitionSchema, { def }) }),
      );
      expect(err.rawMessage).toContain(message);
    });

    test('more than a message may hold', async () => {
      const def = [new Uint8Array(17 << 20)];
      const err = await failure(
        kit.control.solve({ Ref: '', Definition: create(DefinitionSchema, { def }) }),
      );
      expect(err.code).toBe(Code.ResourceExhausted);
      expect((await kit.control.listWorkers({})).record).toHaveLength(1);
    });
  });

  test('the same after POST /grpc on the docker API', async () => {
    const request = httpRequest({
      method: 'POST',
      path: '/grpc',
      createConnection: () => dial(kit.daemon.socket),
      headers: { connection: 'Upgrade', upgrade: 'h2c' },
    });
    request.end();
    const [, socket, head] = (await once(request, 'upgrade')) as [unknown, Duplex, Buffer];
    const client = createClient(
      Control,
      transportOver(() => withHead(socket, head)),
    );
    expect((await client.listWorkers({})).record).toHaveLength(1);
    socket.destroy();
  });

  test('health, trace export, and reflection of all services', async () => {
    const health = createClient(Health, kit.transport);
    expect((await health.check({})).status).toBe(HealthCheckResponse_ServingStatus.SERVING);
    await createClient(TraceService, kit.transport).export({ resourceSpans: [new Uint8Array([8, 1])] });
    const reflection = createClient(ServerReflection, kit.transport);
    const ask = async (messageRequest: ServerReflectionRequest['messageRequest']) => {
      const requests = (async function* () {
        yield create(ServerReflectionRequestSchema, { messageRequest });
      })();
      for await (const answer of reflection.serverReflectionInfo(requests)) {
        return answer.messageResponse;
      }
      throw new Error('no answer');
    };
    const listed = await ask({ case: 'listServices', value: '' });
    expect(listed.case === 'listServicesResponse' && listed.value.service.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['moby.buildkit.v1.Control', 'moby.buildkit.v1.frontend.LLBBridge']),
    );
    const file = await ask({
      case: 'fileContainingSymbol',
      value: 'moby.buildkit.v1.Control.Solve',
    } as never);
    if (file.case !== 'fileDescriptorResponse') throw new Error(String(file.case));
    const names = file.value.fileDescriptorProto.map(
      (bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name,
    );
    expect(names[0]).toBe('moby/buildkit/v1/control.proto');
    expect(names).toContain('solver/pb/ops.proto');
    const unknown = await ask({ case: 'fileContainingSymbol', value: 'no.such.Thing' });
    expect(unknown.case).toBe('errorResponse');
  });
});
