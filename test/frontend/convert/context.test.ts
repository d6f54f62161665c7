import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { fail } from '../../../src/errors/error.ts';
import { dockerfileFrontend } from '../../../src/frontend/dockerfile/frontend.ts';
import type { DockerfileRequest } from '../../../src/frontend/types.ts';
import { loadGraph } from '../../../src/llb/graph.ts';
import type { Platform } from '../../../src/oci/types.ts';
import { noFolder } from '../../../src/session/no-folder.ts';
import { amd64, arm64, FakeHost, request, type World } from './fake-host.ts';

const dockerfile = 'FROM scratch\nCOPY a /\n';

async function build(changes: Partial<DockerfileRequest>, trees: World['trees']) {
  const host = new FakeHost({ trees });
  const { targets, warnings } = await dockerfileFrontend(
    request(changes),
    host,
    new AbortController().signal,
  );
  const vertices = loadGraph(targets[0]?.definition ?? (undefined as never)).vertices;
  return { host, vertices, warnings };
}
const source = (vertex: Awaited<ReturnType<typeof build>>['vertices'][number] | undefined) => {
  const op = vertex?.op.op;
  return op?.case === 'source' ? op.value : undefined;
};

describe('where the Dockerfile comes from', () => {
  it('a name given with -f, and its own .dockerignore', async () => {
    const { vertices, host } = await build(
      { dockerfile: 'sub/prod.Dockerfile' },
      {
        'local://context': {
          'sub/prod.Dockerfile': dockerfile,
          'sub/prod.Dockerfile.dockerignore': 'own\n',
          '.dockerignore': 'other\n',
        },
      },
    );
    expect(source(vertices[0])?.attrs['local.excludepatterns']).toBe('["own"]');
    expect(host.log).toEqual(['[internal] load build definition from sub/prod.Dockerfile']);
    expect(JSON.parse(host.opened[0]?.['local.followpaths'] ?? '')).toEqual([
      'sub/prod.Dockerfile',
      'sub/prod.Dockerfile.dockerignore',
    ]);
  });

  it('`dockerfile` in lower case will do', async () => {
    await build({}, { 'local://context': { dockerfile } });
  });

  it('text, or another folder of the client', async () => {
    await build({ dockerfileText: dockerfile }, {});
    const { vertices } = await build({ dockerfileLocal: 'df' }, { 'local://df': { Dockerfile: dockerfile } });
    expect(source(vertices[0])?.identifier).toBe('local://context');
  });

  it('a missing one: the error says what else is there', async () => {
    await expect(
      build({}, { 'local://context': { 'Dockerfile.prod': dockerfile, other: '' } }),
    ).rejects.toMatchObject({
      message: 'failed to read dockerfile: open Dockerfile: no such file or directory',
      code: 'not-found',
      hop: 'dockerfile',
      hint: 'There is Dockerfile.prod: name it with -f Dockerfile.prod.',
    });
  });

  it('an empty or binary one is refused', async () => {
    await expect(build({}, { 'local://context': { Dockerfile: '' } })).rejects.toMatchObject({
      code: 'invalid',
    });
    await expect(build({}, { 'local://context': { Dockerfile: 'FROM\0' } })).rejects.toThrow(
      'is not a text file',
    );
  });
});

describe('remote contexts', () => {
  it('git, with a ref and a folder', async () => {
    const url = 'https://github.com/a/b.git#main:docker';
    const { vertices } = await build(
      { context: { type: 'remote', url } },
      { 'git://github.com/a/b.git#main:docker': { Dockerfile: dockerfile } },
    );
    expect(vertices[0]?.name).toBe(`[internal] load git source ${url}`);
  });

  it('a tar from a URL is unpacked', async () => {
    const url = 'https://h/ctx.tgz';
    const { vertices, host } = await build(
      { context: { type: 'remote', url } },
      { [url]: { context: gzipSync('x') }, [`unpacked:${url}`]: { Dockerfile: dockerfile } },
    );
    expect(vertices.map(({ name }) => name)).toEqual([
      '[internal] load remote build context',
      '[internal] unpack remote build context',
      '[1/1] COPY a /',
    ]);
    expect(host.opened[0]).toEqual({ 'http.filename': 'context' });
  });

  it('a bare Dockerfile from a URL has an empty context', async () => {
    const url = 'https://h/Dockerfile';
    const { vertices } = await build(
      { context: { type: 'remote', url } },
      { [url]: { context: dockerfile } },
    );
    expect(vertices.map(({ name }) => name)).toEqual(['[1/1] COPY a /']);
    expect(vertices[0]?.inputs).toEqual([]);
  });

  it('a posted tar; its only file is not taken for a Dockerfile of another name', async () => {
    const context = { type: 'upload', id: 'u' } as const;
    const files = { 'upload://u': { Dockerfile: dockerfile, a: '' } };
    const { vertices } = await build({ context }, files);
    expect(source(vertices[0])).toMatchObject({
      identifier: 'upload://u',
      attrs: { 'upload.dockerfile': 'Dockerfile' },
    });
    const other = build({ context, dockerfile: 'other' }, { 'upload://u': { Dockerfile: dockerfile } });
    await expect(other).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('a client that gives no context', () => {
  const text = 'FROM scratch\nCOPY <<EOF /f\nhi\nEOF\nADD https://h/f /g\n';
  const failing = async (err: Error) => {
    const host = new FakeHost({});
    host.open = () => Promise.reject(err);
    const answer = dockerfileFrontend(request({ dockerfileText: text }), host, new AbortController().signal);
    return (await answer).targets[0]?.definition;
  };

  it('can do without it when no file of it is read', async () => {
    const definition = await failing(noFolder('context'));
    const { vertices } = loadGraph(definition as never);
    expect(vertices.map((each) => source(each)?.identifier)).not.toContain('local://context');
  });

  it('another failure to read .dockerignore fails the build: what it leaves out might be secret', async () => {
    await expect(failing(fail('unavailable', 'session', 'the session is gone'))).rejects.toThrow('is gone');
    await expect(failing(fail('not-found', 'session', 'no such session'))).rejects.toThrow('no such session');
  });
});

describe('checks', () => {
  it('that need conversion: undefined variables, bases, ignored files, relative folders, platforms', async () => {
    const text = `
ARG TAG
FROM alpine:$TAGG AS a
FROM --platform=$TARGETPLATFORM busybox AS b
WORKDIR rel
COPY skip/file /
ENV PREFIX=1
RUN echo
LABEL x=$PREFX
`;
    const host = new FakeHost({
      trees: { 'local://context': { Dockerfile: text, '.dockerignore': 'skip\n' } },
      images: { 'docker.io/library/busybox:latest': { architecture: 'arm64' } },
    });
    const signal = new AbortController().signal;
    const failing = dockerfileFrontend(request({ target: 'b' }), host, signal);
    // `alpine:` is no valid image, but only stage b is built.
    const { warnings } = await failing;
    expect(
      warnings.map(({ rule, message, location }) => [location.ranges[0]?.start.line, rule, message]),
    ).toEqual([
      [3, 'InvalidDefaultArgInFrom', expect.stringContaining('alpine:$TAGG')],
      [3, 'UndefinedArgInFrom', "FROM argument 'TAGG' is not declared (did you mean TAG?)"],
      [4, 'RedundantTargetPlatform', expect.stringContaining('$TARGETPLATFORM')],
      [4, 'InvalidBaseImagePlatform', expect.stringContaining('Base image busybox was pulled with platform')],
      [5, 'WorkdirRelativePath', expect.stringContaining('"rel"')],
      [6, 'CopyIgnoredFile', expect.stringContaining('skip/file')],
      [9, 'UndefinedVar', "Usage of undefined variable '$PREFX' (did you mean $PREFIX?)"],
    ]);
  });

  it('`# check=error=true` fails the build, `--check` only reports', async () => {
    const trees = { 'local://context': { Dockerfile: '# check=error=true\nFROM scratch\nWORKDIR rel\n' } };
    await expect(build({}, trees)).rejects.toMatchObject({
      message: 'lint violation found for rules: WorkdirRelativePath',
      code: 'invalid',
      source: { ranges: [{ start: { line: 3 } }] },
    });
    const { warnings } = await build({ check: true }, trees);
    expect(warnings).toHaveLength(1);
  });

  it.each([
    ['that does not parse', 'FROM scratch AS Bad\nMAINTAINER me\nBADCMD\n', /line 3: unknown instruction/],
    ['that cannot be built', 'FROM scratch AS Bad\nMAINTAINER me\nENV A=$' + '{B:?unset}\n', /unset/],
    ['whose checks fail it', '# check=error=true\nFROM scratch AS Bad\nMAINTAINER me\n', /lint violation/],
  ])('a Dockerfile %s: what was found is told all the same', async (_, text, message) => {
    const host = new FakeHost({ trees: { 'local://context': { Dockerfile: text } } });
    await expect(dockerfileFrontend(request(), host, new AbortController().signal)).rejects.toThrow(message);
    expect(host.warned).toEqual(['StageNameCasing', 'MaintainerDeprecated']);
  });

  it('what `# check=skip=…` leaves out is also left out of a file that does not parse', async () => {
    const text = '# check=skip=StageNameCasing\nFROM scratch AS Bad\nMAINTAINER me\nBADCMD\n';
    const host = new FakeHost({ trees: { 'local://context': { Dockerfile: text } } });
    await expect(dockerfileFrontend(request(), host, new AbortController().signal)).rejects.toThrow('BADCMD');
    expect(host.warned).toEqual(['MaintainerDeprecated']);
  });

  it('of stages that are not built only what the whole file shows; with --check all of it', async () => {
    const text = 'FROM scratch AS a\nFROM a AS B\nENV k v\nWORKDIR rel\nFROM a\n';
    const trees = { 'local://context': { Dockerfile: text } };
    const rules = async (changes: Partial<DockerfileRequest>) =>
      (await build(changes, trees)).warnings.map(({ rule }) => rule);
    expect(await rules({})).toEqual(['StageNameCasing']);
    const all = ['StageNameCasing', 'LegacyKeyValueFormat', 'WorkdirRelativePath'];
    expect(await rules({ check: true })).toEqual(all);
    expect(await rules({ target: 'b' })).toEqual(all);
    expect(await rules({ check: true, target: 'a' })).toEqual(['StageNameCasing']);
  });

  it('of several platforms, findings are those of the first', async () => {
    const images = { 'docker.io/library/one:1': { os: 'linux', architecture: 'amd64' } };
    const find = async (platforms: Platform[]) => {
      const host = new FakeHost({ trees: { 'local://context': { Dockerfile: 'FROM one:1\n' } }, images });
      await dockerfileFrontend(request({ platforms }), host, new AbortController().signal);
      return host.warned;
    };
    expect(await find([amd64, arm64])).toEqual([]);
    expect(await find([arm64, amd64])).toEqual(['InvalidBaseImagePlatform']);
  });
});
