/** LLBBridge in the client's own gateway mode: what buildx and buildctl do with a build they direct themselves. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { platformResults } from '../../../src/engine/bridge/platforms.ts';
import { openView } from '../../../src/fs/open.ts';
import { readFileIn } from '../../../src/fs/read.ts';
import { copy, local, marshal, mkdir, mkfile, scratch, symlink } from '../../../src/llb/llb.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { OpSchema } from '../../../src/pb/solver/pb/ops_pb.js';
import { typeOf } from '../../../src/session/fsutil/mode.ts';
import { answerGit } from '../../kit/git-server.ts';
import { startServer } from '../../kit/http-server.ts';
import { type BuildSetup, type GatewayBuild, GatewayKit } from './gateway-kit.ts';

const kit = new GatewayKit();
const open: GatewayBuild[] = [];
beforeAll(() => kit.open());
afterAll(() => kit.close());
afterEach(async () => {
  await Promise.all(open.splice(0).map((build) => build.end()));
});

async function start(setup?: BuildSetup): Promise<GatewayBuild> {
  const build = await kit.build(setup);
  open.push(build);
  return build;
}

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('utf8');
const files = (...steps: Parameters<ReturnType<typeof scratch>['file']>[0][]) =>
  marshal(scratch().file(steps.flat() as Parameters<ReturnType<typeof scratch>['file']>[0]));

function folder(name: string, content: Record<string, string>): string {
  const dir = join(kit.dir, name);
  for (const [path, data] of Object.entries(content)) {
    mkdirSync(join(dir, path, '..'), { recursive: true });
    writeFileSync(join(dir, path), data);
  }
  return dir;
}

/** Solves a definition and gives the ref's id. */
async function solved(build: GatewayBuild, definition: ReturnType<typeof marshal>): Promise<string> {
  const { result } = await build.client.solve({
    Definition: definition,
    allowResultReturn: true,
    allowResultArrayRef: true,
  });
  if (result?.result.case !== 'ref') throw new Error(`no ref but ${result?.result.case}`);
  expect(result.result.value.def?.def ?? []).toEqual(definition.def);
  return result.result.value.id;
}

async function failure(work: Promise<unknown>): Promise<ConnectError> {
  const err = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(err instanceof ConnectError)) throw new Error(`no ConnectError: ${String(err)}`);
  return err;
}

describe('Ping', () => {
  test('lists the capabilities that clients ask for before they use something', async () => {
    const { client } = await start();
    const { FrontendAPICaps, LLBCaps } = await client.ping({});
    const ids = (caps: { ID: string; Enabled: boolean }[]) => caps.filter((c) => c.Enabled).map((c) => c.ID);
    expect(ids(FrontendAPICaps)).toEqual(
      expect.arrayContaining(['solve.base', 'return', 'proto.refarray', 'frontend.inputs', 'gateway.exec']),
    );
    expect(ids(LLBCaps)).toEqual(
      expect.arrayContaining([
        'file.base',
        'source.image',
        'mergeop',
        'exec.mount.ssh',
        'exec.validexitcode',
      ]),
    );
  });

  test('a call without a build id, or for a build that does not come, is refused', async () => {
    expect((await failure(kit.clientOf(undefined).ping({}))).rawMessage).toContain('no buildid found');
  });

  test('a call may come before its build', async () => {
    const early = kit.clientOf('build-early').ping({});
    const gateway = await start();
    const unregister = kit.gateways.register('anonymous', 'build-early', {
      service: { ping: () => ({ Workers: [{ ID: 'late' }] }) },
    } as never);
    expect((await early).Workers[0]?.ID).toBe('late');
    unregister();
    expect(gateway).toBeDefined();
  });
});

describe('Solve of a definition', () => {
  const tree = files(
    mkdir('/a'),
    mkfile('/a/one', 'first file'),
    mkfile('/a/two.txt', 'second'),
    symlink('one', '/a/link'),
  );

  test('gives a ref to read files of, whole or in part', async () => {
    const build = await start();
    const Ref = await solved(build, tree);
    expect(text((await build.client.readFile({ Ref, FilePath: '/a/one' })).Data)).toBe('first file');
    expect(text((await build.client.readFile({ Ref, FilePath: 'a/link' })).Data)).toBe('first file');
    const part = (Offset: bigint, Length: bigint) =>
      build.client.readFile({ Ref, FilePath: 'a/one', Range: { Offset, Length } });
    expect(text((await part(6n, 2n)).Data)).toBe('fi');
    expect(text((await part(6n, 1000n)).Data)).toBe('file');
    expect(text((await part(1000n, 2n)).Data)).toBe('');
    expect(await failure(build.client.readFile({ Ref, FilePath: '/nope' }))).toMatchObject({
      code: Code.NotFound,
      rawMessage: 'open /nope: no such file or directory',
    });
    expect(await failure(build.client.readFile({ Ref, FilePath: '/a' }))).toMatchObject({
      rawMessage: '/a is not a regular file',
    });
  });

  test('lists folders, by pattern if asked, and says what is at a path', async () => {
    const build = await start();
    const Ref = await solved(build, tree);
    const names = async (IncludePattern: string) =>
      (await build.client.readDir({ Ref, DirPath: '/a', IncludePattern })).entries.map(({ path }) => path);
    expect(await names('')).toEqual(['link', 'one', 'two.txt']);
    expect(await names('*.txt')).toEqual(['two.txt']);
    const { stat } = await build.client.statFile({ Ref, Path: '/a' });
    expect(stat?.path).toBe('a');
    expect(typeOf(stat?.mode ?? 0)).toBe('dir');
    const one = (await build.client.statFile({ Ref, Path: 'a/one' })).stat;
    expect(one).toMatchObject({ size: 10n });
    expect(await failure(build.client.statFile({ Ref, Path: '/b' }))).toMatchObject({ code: Code.NotFound });
    expect(await failure(build.client.readDir({ Ref, DirPath: '/b' }))).toMatchObject({
      code: Code.NotFound,
    });
  });

  test('names that are no UTF-8 are listed, and asked for, byte for byte', async () => {
    const build = await start();
    const steps = [
      mkdir('/d\udce9'),
      mkfile('/d\udce9/caf\udce9', 'e9'),
      symlink('caf\udcff', '/d\udce9/caf\udce8'),
    ];
    const Ref = await solved(build, files(...steps));
    const { entries } = await build.client.readDir({ Ref, DirPath: '/d\udce9' });
    expect(entries.map(({ path, linkname }) => [path, linkname])).toEqual([
      ['caf\udce8', 'caf\udcff'],
      ['caf\udce9', ''],
    ]);
    expect(text((await build.client.readFile({ Ref, FilePath: '/d\udce9/caf\udce9' })).Data)).toBe('e9');
    expect(await failure(build.client.readFile({ Ref, FilePath: '/caf\udce9' }))).toMatchObject({
      rawMessage: 'open /caf\\xe9: no such file or directory',
    });
  });

  test('is lazy unless Evaluate is set; Evaluate makes up for it', async () => {
    const build = await start({ locals: { src: folder('lazy', { x: '' }) } });
    const failing = marshal(scratch().file(copy(local('src'), '/nope', '/')));
    const Ref = await solved(build, failing);
    expect((await failure(build.client.evaluate({ Ref }))).rawMessage).toMatch(/nope/);
    const eager = build.client.solve({ Definition: failing, Evaluate: true, allowResultReturn: true });
    expect((await failure(eager)).rawMessage).toMatch(/nope/);
  });

  test('an empty definition is the empty tree, whose ref has no id', async () => {
    const build = await start();
    expect(await solved(build, marshal(scratch()))).toBe('');
    await build.client.evaluate({ Ref: '' });
  });

  test('old clients get a plain id', async () => {
    const { client } = await start();
    const { ref, result } = await client.solve({ Definition: tree });
    expect(ref).not.toBe('');
    expect(result?.result).toMatchObject({ case: 'refDeprecated', value: ref });
    expect(text((await client.readFile({ Ref: ref, FilePath: '/a/one' })).Data)).toBe('first file');
  });

  test('reads a folder of the client', async () => {
    const build = await start({ locals: { src: folder('src', { 'x/y': 'from the client' }) } });
    const Ref = await solved(build, marshal(local('src')));
    expect(text((await build.client.readFile({ Ref, FilePath: 'x/y' })).Data)).toBe('from the client');
  });

  test('what it cannot be is refused: unknown ops, caps, digests, refs, frontends', async () => {
    const build = await start();
    const solve = async (definition: object) => {
      const { result } = await build.client.solve({
        Definition: definition as ReturnType<typeof marshal>,
        allowResultReturn: true,
        Evaluate: true,
      });
      return result;
    };
    const input = { digest: `sha256:${'1'.repeat(64)}`, index: 0n };
    const dangling = toBinary(OpSchema, create(OpSchema, { inputs: [input] }));
    expect((await failure(solve({ def: [dangling] }))).rawMessage).toMatch(/missing input digest/);
    expect((await failure(solve({ def: [Buffer.from('garbage')] }))).rawMessage).toMatch(
      /^failed to parse llb/,
    );
    const def = files(mkfile('/x', ''));
    for (const metadata of Object.values(def.metadata)) metadata.caps['file.teleport'] = true;
    expect(await failure(solve(def))).toMatchObject({
      code: Code.Unknown,
      rawMessage: expect.stringContaining('unknown API capability file.teleport'),
    });
    expect(await failure(build.client.readFile({ Ref: 'made-up', FilePath: 'x' }))).toMatchObject({
      code: Code.NotFound,
      rawMessage: expect.stringContaining('no such ref: made-up'),
    });
    expect(await failure(build.client.solve({ Frontend: 'dockerfile.v9' }))).toMatchObject({
      rawMessage: expect.stringContaining('invalid frontend: dockerfile.v9'),
    });
    const both = build.client.solve({ Frontend: 'dockerfile.v0', Definition: tree });
    expect((await failure(both)).rawMessage).toMatch(/both Definition and Frontend/);
  });

  test('more than was granted is refused', async () => {
    const root = kit.busybox();
    const build = await start({ locals: { root } });
    const run = local('root').run(['true'], { network: 'host' });
    const Ref = await solved(build, marshal(run));
    expect(await failure(build.client.evaluate({ Ref }))).toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: expect.stringContaining('entitlement network.host is not allowed'),
    });
  });
});

describe('Solve by dockerfile.v0', () => {
  const dockerfile = 'FROM scratch AS first\nCOPY a /\nFROM first\nCOPY b /c\nENV WHO=me\nLABEL x=y\n';

  test("reads the client's folders and returns image configs with the trees", async () => {
    const context = folder('context', { a: 'file a', b: 'file b', Dockerfile: dockerfile });
    const build = await start({ locals: { context, dockerfile: context } });
    const { result } = await build.client.solve({
      Frontend: 'dockerfile.v0',
      FrontendOpt: { 'label:more': 'labels', 'build-arg:UNUSED': '1' },
      allowResultReturn: true,
      allowResultArrayRef: true,
    });
    const config = JSON.parse(text(result?.metadata['containerimage.config']));
    expect(config.config).toMatchObject({
      Env: expect.arrayContaining(['WHO=me']),
      Labels: { x: 'y', more: 'labels' },
    });
    expect(JSON.parse(text(result?.metadata['refs.platforms'])).Platforms).toHaveLength(1);
    const Ref = result?.result.case === 'ref' ? result.result.value.id : '';
    expect(text((await build.client.readFile({ Ref, FilePath: '/c' })).Data)).toBe('file b');
    expect([...build.vertices.values()].map(({ name }) => name)).toContain('[stage-1 1/1] COPY b /c');
    expect(build.warnings.map(({ short }) => short).join()).toMatch(/UNUSED/);
  });

  test('several platforms give a ref each', async () => {
    const context = folder('multi', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
    const build = await start({ locals: { context, dockerfile: context } });
    const { result } = await build.client.solve({
      Frontend: 'dockerfile.v0',
      FrontendOpt: { platform: 'linux/amd64,linux/arm64' },
      allowResultReturn: true,
      allowResultArrayRef: true,
    });
    const refs = result?.result.case === 'refs' ? result.result.value.refs : {};
    expect(Object.keys(refs).sort()).toEqual(['linux/amd64', 'linux/arm64']);
    const config = JSON.parse(text(result?.metadata['containerimage.config/linux/arm64']));
    expect(config).toMatchObject({ os: 'linux', architecture: 'arm64' });
    const one = await build.client.solve({
      Frontend: 'dockerfile.v0',
      FrontendOpt: { 'multi-platform': 'true' },
      allowResultReturn: true,
      allowResultArrayRef: true,
    });
    expect(one.result?.result.case).toBe('refs');
  });

  test('inputs stand for the context, the Dockerfile and named contexts', async () => {
    const build = await start();
    const { result } = await build.client.solve({
      Frontend: 'dockerfile.v0',
      FrontendOpt: {
        'context:extra': 'input:other',
        'context:base': 'input:img',
        'input-metadata:img': JSON.stringify({
          'containerimage.config': Buffer.from(
            JSON.stringify({ os: 'linux', architecture: 'amd64', config: { Env: ['FROM_INPUT=1'] } }),
          ).toString('base64'),
        }),
      },
      FrontendInputs: {
        context: files(mkfile('/a', 'context a')),
        dockerfile: files(mkfile('/Dockerfile', 'FROM base\nCOPY a /a\nCOPY --from=extra /e /e\n')),
        other: files(mkfile('/e', 'extra')),
        img: files(mkfile('/base', 'base')),
      },
      allowResultReturn: true,
      allowResultArrayRef: true,
    });
    const Ref = result?.result.case === 'ref' ? result.result.value.id : '';
    for (const [path, want] of [
      ['/a', 'context a'],
      ['/e', 'extra'],
      ['/base', 'base'],
    ]) {
      expect(text((await build.client.readFile({ Ref, FilePath: path })).Data)).toBe(want);
    }
    expect(JSON.parse(text(result?.metadata['containerimage.config'])).config.Env).toContain('FROM_INPUT=1');
  });

  test('options that cannot be read are said', async () => {
    const build = await start();
    const refused = async (FrontendOpt: Record<string, string>) =>
      (await failure(build.client.solve({ Frontend: 'dockerfile.v0', FrontendOpt }))).rawMessage;
    expect(await refused({ 'add-hosts': 'a' })).toMatch(/invalid key-value pair a/);
    expect(await refused({ 'add-hosts': 'a=nowhere' })).toMatch(/failed to parse IP nowhere/);
    expect(await refused({ 'shm-size': '1k' })).toMatch(/shm-size/);
    expect(await refused({ platform: 'linux/amd64,foobar' })).toBe(
      'failed to parse target platform foobar: "foobar": unknown operating system or architecture: invalid argument\n' +
        'hint: A platform is written os/architecture or os/architecture/variant, for example linux/arm64.',
    );
    expect(await refused({ ulimit: 'nofile' })).toMatch(/invalid ulimit argument: nofile/);
    expect(await refused({ 'image-resolve-mode': 'x' })).toBe('invalid image-resolve-mode: x');
    expect(await refused({ 'force-network-mode': 'x' })).toMatch(/there is no network "x" for steps/);
    expect(await refused({ 'force-network-mode': 'x y' })).toMatch(/network mode "x y" not supported/);
    expect(await refused({ 'frontend.caps': 'moby.x' })).toBe('unsupported frontend capability moby.x');
  });
});

describe('Return', () => {
  test('is what the build exports', async () => {
    const build = await start();
    const id = await solved(build, files(mkfile('/f', 'exported')));
    const config = { os: 'linux', architecture: 'amd64', config: { Cmd: ['/f'] } };
    await build.client.return({
      result: {
        result: { case: 'ref', value: { id } },
        metadata: { 'containerimage.config': Buffer.from(JSON.stringify(config)) },
      },
    });
    const [first] = await platformResults(await build.returned);
    expect(first).toMatchObject({ platform: { architecture: 'amd64' }, config: { config: { Cmd: ['/f'] } } });
    const view = openView((await first?.ref?.view({ lease: build.bridge.lease })) ?? { kind: 'empty' });
    expect(text(readFileIn(view, '/f'))).toBe('exported');
    expect(await failure(build.client.return({ result: {} }))).toMatchObject({
      rawMessage: 'gateway result is already set',
    });
  });

  test('several refs are matched with their platforms', async () => {
    const build = await start();
    const refs = Object.fromEntries(
      await Promise.all(
        ['linux/amd64', 'linux/arm64'].map(async (name) => [
          name,
          { id: await solved(build, files(mkfile('/p', name))) },
        ]),
      ),
    );
    const Platforms = ['amd64', 'arm64'].map((architecture) => ({
      ID: `linux/${architecture}`,
      Platform: { os: 'linux', architecture },
    }));
    const metadata = { 'refs.platforms': Buffer.from(JSON.stringify({ Platforms })) };
    await build.client.return({ result: { result: { case: 'refs', value: { refs } }, metadata } });
    const results = await platformResults(await build.returned);
    expect(results.map(({ platform }) => platform.architecture)).toEqual(['amd64', 'arm64']);
  });

  test("a client's error ends the build with its code and message", async () => {
    const build = await start();
    await build.client.return({ error: { code: Code.NotFound, message: 'nothing to build' } });
    await expect(build.returned).rejects.toMatchObject({ code: 'not-found', message: 'nothing to build' });
  });

  test('attestations come along', async () => {
    const build = await start();
    const id = await solved(build, files(mkfile('/f', '')));
    const sbom = await solved(build, files(mkfile('/sbom.json', '{}')));
    await build.client.return({
      result: {
        result: { case: 'ref', value: { id } },
        attestations: {
          'linux/amd64': {
            attestation: [{ ref: { id: sbom }, path: '/sbom.json', inTotoPredicateType: 'p' }],
          },
        },
      },
    });
    const { attestations } = await build.returned;
    const [attestation] = attestations?.['linux/amd64'] ?? [];
    expect(attestation?.message).toMatchObject({ path: '/sbom.json', inTotoPredicateType: 'p' });
    expect((await attestation?.ref?.view())?.lstat('/sbom.json')?.size).toBe(2);
  });

  test('those of a frontend that the client calls are told, and can be returned', async () => {
    const build = await start();
    const { result } = await build.client.solve({
      Frontend: 'dockerfile.v0',
      FrontendOpt: { 'attest:sbom': '' },
      FrontendInputs: {
        dockerfile: files(mkfile('/Dockerfile', 'FROM scratch\nCOPY <<EOF /f\nhello\nEOF\n')),
      },
      allowResultReturn: true,
      allowResultArrayRef: true,
    });
    const told = Object.values(result?.attestations ?? {}).flatMap(({ attestation }) => attestation);
    expect(told).toMatchObject([
      {
        path: '/sbom.spdx.json',
        inTotoPredicateType: 'https://spdx.dev/Document',
        ref: { id: expect.any(String) },
      },
    ]);
    await build.client.return({ result });
    const { attestations } = await build.returned;
    const [attestation] = Object.values(attestations ?? {}).flat();
    expect((await attestation?.ref?.view())?.lstat('/sbom.spdx.json')?.type).toBe('file');
  });
});

test('Inputs are those of the build', async () => {
  const { client } = await start({ inputs: { tree: files(mkfile('/t', 'input')) } });
  expect(Object.keys((await client.inputs({})).Definitions)).toEqual(['tree']);
});

test("Warn shows under the frontend's vertex", async () => {
  const build = await start();
  const digest = `sha256:${'a'.repeat(64)}`;
  await build.client.warn({
    digest,
    short: Buffer.from('mind the gap'),
    detail: [Buffer.from('it is wide')],
    info: { filename: 'Dockerfile', data: Buffer.from('FROM x') },
    ranges: [{ start: { line: 1 }, end: { line: 1 } }],
  });
  expect(build.warnings).toMatchObject([
    {
      vertex: digest,
      level: 1,
      short: 'mind the gap',
      detail: ['it is wide'],
      source: { filename: 'Dockerfile' },
    },
  ]);
});

test('ResolveSourceMeta knows the commit of a git ref and the digest of a URL’s file', async () => {
  const repos = join(kit.dir, 'repos');
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { encoding: 'utf8' }).trim();
  git('init', '-q', '-b', 'main', join(repos, 'app'));
  const at = ['-C', join(repos, 'app')];
  git(...at, 'commit', '-q', '--allow-empty', '-m', 'first');
  git(...at, 'tag', '-a', 'v1', '-m', 'one');
  const server = await startServer((request, response) =>
    request.url?.startsWith('/app') ? answerGit(request, response, repos) : response.end('hello'),
  );
  try {
    const { client } = await start();
    const meta = async (identifier: string, attrs = {}) =>
      client.resolveSourceMeta({ Source: { identifier, attrs } });
    const url = `http://${server.host}/app`;
    const { Git } = await meta(`git://${server.host}/app#v1`, { 'git.fullurl': url });
    expect(Git).toMatchObject({
      Ref: 'refs/tags/v1',
      Checksum: git(...at, 'rev-parse', 'v1'),
      CommitChecksum: git(...at, 'rev-parse', 'v1^{commit}'),
    });
    const { HTTP } = await meta(`http://${server.host}/file.txt`);
    expect(HTTP).toMatchObject({ Checksum: digestOf('hello'), Filename: 'file.txt' });
  } finally {
    await server.stop();
  }
});

test('ResolveSourceMeta gives back what has no config; a missing image is not found', async () => {
  const { client } = await start();
  const Source = { identifier: 'local://context', attrs: { 'local.sharedkeyhint': 'x' } };
  expect((await client.resolveSourceMeta({ Source })).Source).toMatchObject(Source);
  expect(await failure(client.resolveSourceMeta({}))).toMatchObject({
    rawMessage: expect.stringContaining('source is required'),
  });
  const missing = client.resolveImageConfig({ Ref: 'localhost:1/none:1', ResolveMode: 'local' });
  expect(await failure(missing)).toBeInstanceOf(ConnectError);
});
