/** Frontend images: `gateway.v0`, and `# syntax=` lines that name one. */
import { execFileSync } from 'node:child_process';
import { constants, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { build as bundle } from 'esbuild';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runBuild } from '../../../src/engine/build.ts';
import { dockerfileBuild } from '../../../src/engine/dockerfile-build.ts';
import type { OutputSpec } from '../../../src/engine/types.ts';
import { local, marshal } from '../../../src/llb/llb.ts';
import { inProcessSession } from '../../../src/session/in-process.ts';
import { straightImports } from '../../kit/straight.ts';
import { type GatewayBuild, GatewayKit } from './gateway-kit.ts';

const kit = new GatewayKit();
const open: GatewayBuild[] = [];
let frontend: string;
beforeAll(async () => {
  await kit.open();
  frontend = await frontendRoot();
});
afterAll(() => kit.close());
afterEach(async () => {
  await Promise.all(open.splice(0).map((build) => build.end()));
});

/** A root filesystem with Node, its libraries and the test's frontend. */
async function frontendRoot(): Promise<string> {
  const root = join(kit.dir, 'frontend');
  const put = (path: string) => {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    copyFileSync(path, join(root, path), constants.COPYFILE_FICLONE);
  };
  mkdirSync(root);
  copyFileSync(process.execPath, join(root, 'node'), constants.COPYFILE_FICLONE);
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
  for (const [path] of libraries.matchAll(/\/\S+\.so[.\d]*/g)) put(path);
  await bundle({
    entryPoints: [join(import.meta.dirname, 'recipe-frontend.ts')],
    outfile: join(root, 'frontend.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['koffi'],
    plugins: [straightImports(join(import.meta.dirname, '../../../src'))],
  });
  return root;
}

const config = {
  os: 'linux',
  architecture: 'amd64',
  config: {
    Entrypoint: ['/node', '/frontend.mjs'],
    Labels: {
      'moby.buildkit.frontend.caps': 'moby.buildkit.frontend.inputs,moby.buildkit.frontend.contexts',
    },
  },
};
const source = 'example.com/recipes:1';
/** The frontend's image as a named context that the client hands over. */
const image = {
  [`context:${source}`]: 'input:frontend',
  'input-metadata:frontend': JSON.stringify({
    'containerimage.config': Buffer.from(JSON.stringify(config)).toString('base64'),
  }),
};

async function start(files: Record<string, string>): Promise<GatewayBuild> {
  const context = join(kit.dir, `context${Math.random()}`);
  mkdirSync(context);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(context, name), text);
  const build = await kit.build({ locals: { context, dockerfile: context, frontend } });
  open.push(build);
  return build;
}

function solve(build: GatewayBuild, Frontend: string, FrontendOpt: Record<string, string>) {
  return build.client.solve({
    Frontend,
    FrontendOpt: { ...image, ...FrontendOpt },
    FrontendInputs: { frontend: marshal(local('frontend')) },
    allowResultReturn: true,
    allowResultArrayRef: true,
  });
}

async function read(build: GatewayBuild, { result }: Awaited<ReturnType<typeof solve>>, FilePath: string) {
  if (result?.result.case !== 'ref') throw new Error('no ref');
  const { Data } = await build.client.readFile({ Ref: result.result.value.id, FilePath });
  return Buffer.from(Data).toString();
}

async function failure(work: Promise<unknown>): Promise<ConnectError> {
  const err = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(err instanceof ConnectError)) throw new Error(`no ConnectError: ${String(err)}`);
  return err;
}

test('the image of `source` is run, reads the context and returns a tree with its config', async () => {
  const build = await start({ Recipe: '/bread flour and water\n/salt a pinch\n' });
  const solved = await solve(build, 'gateway.v0', { source, 'build-arg:OVEN': 'hot' });
  expect(await read(build, solved, '/bread')).toBe('flour and water');
  const made = JSON.parse(Buffer.from(solved.result?.metadata['containerimage.config'] ?? []).toString());
  expect(JSON.parse(made.config.Labels.options)).toMatchObject({ source, 'build-arg:OVEN': 'hot' });
  expect([...build.vertices.values()].map(({ name }) => name)).toContain(`[frontend] ${source}`);
});

test('docker’s own frontend is ours, named as a source or in a `# syntax=` line, unless another stands for it', async () => {
  const docker = 'docker/dockerfile:1';
  const build = await start({
    Dockerfile: `# syntax=${docker}\nFROM scratch\nCOPY Dockerfile /copied\n`,
    Recipe: '/salt a pinch\n',
    Named: `# syntax=${docker}\n/cake butter\n`,
  });
  const copied = `# syntax=${docker}\nFROM scratch\nCOPY Dockerfile /copied\n`;
  const ours = { filename: 'Dockerfile' };
  expect(await read(build, await solve(build, 'dockerfile.v0', ours), '/copied')).toBe(copied);
  for (const named of [docker, 'docker.io/docker/dockerfile-upstream:master', 'dockerfile.v0']) {
    const solved = await solve(build, 'gateway.v0', { ...ours, source: named, cmdline: named });
    expect(await read(build, solved, '/copied')).toBe(copied);
  }
  const other = { [`context:${docker}`]: 'input:frontend' };
  const replaced = await solve(build, 'gateway.v0', { ...other, source: docker, filename: 'Recipe' });
  expect(await read(build, replaced, '/salt')).toBe('a pinch');
  const line = await solve(build, 'dockerfile.v0', { ...other, filename: 'Named' });
  expect(await read(build, line, '/cake')).toBe('butter');
});

test('a `# syntax=` line hands the build over; so does the build arg BUILDKIT_SYNTAX', async () => {
  const build = await start({
    Dockerfile: `# syntax=${source}\n/cake butter\n`,
    Plain: '/pie apples\n',
  });
  const opts = { filename: 'Dockerfile' };
  expect(await read(build, await solve(build, 'dockerfile.v0', opts), '/cake')).toBe('butter');
  const arg = { filename: 'Plain', 'build-arg:BUILDKIT_SYNTAX': source };
  expect(await read(build, await solve(build, 'dockerfile.v0', arg), '/pie')).toBe('apples');
});

test('a build by the Docker API or the command line goes to the image, too', async () => {
  const context = join(kit.dir, 'plain');
  mkdirSync(context);
  writeFileSync(
    join(context, 'Dockerfile'),
    `FROM scratch\nCOPY --from=root / /\nENTRYPOINT ["/node", "/frontend.mjs"]\n`,
  );
  const more = join(kit.dir, 'more');
  mkdirSync(more);
  writeFileSync(join(more, 'Dockerfile'), '# syntax=localhost:1/recipes:2\n/tart plums\n');
  const session = inProcessSession({ locals: { context, more, root: frontend } });
  const sink = { vertex: () => {}, status: () => {}, log: () => {}, warning: () => {} };
  const request = (name: string, namedContexts: Record<string, string>, outputs: OutputSpec[]) => ({
    context: { type: 'local' as const, name },
    ...{
      buildArgs: {},
      labels: {},
      platforms: [],
      noCache: false,
      noCacheFilter: [],
      pull: 'missing' as const,
    },
    ...{ network: 'default' as const, extraHosts: [], shmSize: 0, ulimits: [], check: false, allow: [] },
    ...{ dockerfile: 'Dockerfile', namedContexts, outputs, tags: ['localhost:1/recipes:2'] },
  });
  const run = (options: ReturnType<typeof request>) =>
    runBuild(kit.engine, dockerfileBuild(options), session, sink, new AbortController().signal);
  await run(request('context', { root: 'local:root' }, []));
  const dest = join(kit.dir, 'made');
  await run(request('more', {}, [{ type: 'local', attrs: { dest }, sink: { files: dest } }]));
  expect(readFileSync(join(dest, 'tart'), 'utf8')).toBe('plums');
  await session.close();
});

test("docker's own frontend image is not run: ours stands for it", async () => {
  const build = await start({
    Dockerfile: '# syntax=docker/dockerfile:1.7\nFROM scratch\nCOPY Dockerfile /d\n',
  });
  const { result } = await build.client.solve({
    Frontend: 'dockerfile.v0',
    allowResultReturn: true,
    allowResultArrayRef: true,
  });
  expect(result?.result.case).toBe('ref');
});

test("the frontend's error is the build's; one that crashes or says nothing is told as such", async () => {
  const build = await start({});
  expect(await failure(solve(build, 'gateway.v0', { source }))).toMatchObject({
    code: Code.NotFound,
    rawMessage: 'there is no recipe',
  });
  const crash = await failure(solve(build, 'gateway.v0', { source, target: 'crash' }));
  expect(crash.rawMessage).toBe(`the frontend ${source} did not complete successfully: exit code: 3`);
  expect(Buffer.concat(build.logs.map(({ data }) => data)).toString()).toContain('out of flour');
  const silent = await failure(solve(build, 'gateway.v0', { source, target: 'silent' }));
  expect(silent.rawMessage).toBe(`the frontend ${source} ended without a result`);
});

test('what the image cannot do is not asked of it', async () => {
  const build = await start({});
  expect(await failure(solve(build, 'gateway.v0', {}))).toMatchObject({
    rawMessage: 'no source specified for gateway',
  });
  const caps = { source, 'frontend.caps': 'moby.buildkit.frontend.subrequests' };
  expect(await failure(solve(build, 'gateway.v0', caps))).toMatchObject({
    code: Code.Unimplemented,
    rawMessage: expect.stringContaining('unsupported frontend capability moby.buildkit.frontend.subrequests'),
  });
});
