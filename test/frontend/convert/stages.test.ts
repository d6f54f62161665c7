import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { alpine, amd64, arm64, convert } from './fake-host.ts';

const range = (line: number) => expect.objectContaining({ start: expect.objectContaining({ line }) });

describe('stages', () => {
  it('a single stage: steps are numbered without a stage name', async () => {
    const { names, host } = await convert('FROM alpine:3\nRUN make\nWORKDIR /srv\nCOPY a b/\n');
    expect(host.log).toEqual([
      '[internal] load build definition from Dockerfile',
      `[internal] load metadata for ${alpine}`,
      '[internal] load .dockerignore',
    ]);
    expect(names).toEqual([
      expect.stringMatching(/^\[1\/4\] FROM docker\.io\/library\/alpine:3@sha256:/),
      '[internal] load build context',
      '[2/4] RUN make',
      '[3/4] WORKDIR /srv',
      '[4/4] COPY a b/',
    ]);
  });

  it('several stages: only what the target needs is resolved and built', async () => {
    const dockerfile = `
FROM alpine:3 AS build
RUN make
FROM nosuchimage AS unused
RUN false
FROM scratch
COPY --from=build /out /
`;
    const { names, host } = await convert(dockerfile);
    expect(host.log).not.toContain('[internal] load metadata for docker.io/library/nosuchimage:latest');
    expect(names.slice(1)).toEqual(['[build 2/2] RUN make', '[stage-2 1/1] COPY --from=build /out /']);
  });

  it('a stage goes on from another one: its files, environment and history', async () => {
    const result = await convert(`
FROM alpine:3 AS base
ENV A=1
USER me
FROM base
RUN echo $A
`);
    const exec = result.op('[stage-1 1/1] RUN echo 1', 'exec');
    expect(exec.meta?.env).toContain('A=1');
    expect(exec.meta?.user).toBe('me');
    expect(result.history).toEqual(['base', 'ENV A=1', 'USER me', 'RUN /bin/sh -c echo $A # buildkit']);
  });

  it('--target takes a name in any casing, or a number', async () => {
    const dockerfile = 'FROM alpine:3 AS one\nRUN 1\nFROM one AS two\nRUN 2\n';
    for (const target of ['ONE', '0']) {
      const { names } = await convert(dockerfile, { target });
      expect(names.at(-1)).toBe('[one 2/2] RUN 1');
    }
  });

  it('an unknown --target names the stages there are', async () => {
    await expect(
      convert('FROM alpine:3 AS build\nFROM build AS test\n', { target: 'buidl' }),
    ).rejects.toMatchObject({
      message: 'target stage "buidl" could not be found (did you mean build?)',
      code: 'not-found',
      hint: 'The stages are: build, test.',
    });
  });

  it('COPY --from takes a number, and an image', async () => {
    const { names } = await convert(
      'FROM alpine:3\nRUN x\nFROM scratch\nCOPY --from=0 /a /\nCOPY --from=busybox:1 /b /\n',
      {},
      { images: { 'docker.io/library/busybox:1': {} } },
    );
    expect(names).toContain('[stage-0 2/2] RUN x');
    expect(names.some((name) => name.startsWith('FROM docker.io/library/busybox:1@sha256:'))).toBe(true);
  });

  it('stages cannot read from stages below them, nor in circles', async () => {
    await expect(
      convert('FROM alpine:3 AS a\nCOPY --from=b /x /\nFROM alpine:3 AS b\nFROM a\n'),
    ).rejects.toMatchObject({
      message: 'cannot copy from stage "b", it needs to be defined before current stage "a"',
      source: { ranges: [range(2)] },
    });
    await expect(convert('FROM alpine:3 AS a\nCOPY --from=a /x /\n')).rejects.toMatchObject({
      message: 'circular dependency detected on stage: a',
      source: { ranges: [range(2)] },
    });
    await expect(convert('FROM alpine:3\nCOPY --from=5 /x /\n')).rejects.toThrow('invalid stage index 5');
    await expect(convert('FROM alpine:3\nCOPY --from=$X /x /\n')).rejects.toThrow(
      'variable expansion is not supported',
    );
  });

  it('an image that is not there: the error points at FROM and suggests a stage', async () => {
    await expect(convert('FROM alpine:3 AS builder\nFROM buidler\n')).rejects.toMatchObject({
      message: 'buidler: docker.io/library/buidler:latest: not found (did you mean builder?)',
      code: 'not-found',
      hop: 'registry',
      source: { filename: 'Dockerfile', ranges: [range(2)] },
    });
    await expect(convert('ARG TAG\nFROM alpine:$TAG\n')).rejects.toMatchObject({
      message: expect.stringContaining('failed to parse stage name "alpine:"'),
      hint: expect.stringMatching(/^TAG is not set: give it a default with ARG TAG=…/),
    });
    await expect(convert('FROM UPPER\n')).rejects.toMatchObject({
      message: expect.stringContaining('failed to parse stage name "UPPER"'),
      code: 'invalid',
    });
  });

  it('FROM scratch alone is an empty definition with a default config', async () => {
    const { targets, config } = await convert('FROM scratch\n');
    expect(targets[0]?.definition.def).toEqual([]);
    expect(config).toMatchObject({ os: 'linux', architecture: 'amd64', config: { WorkingDir: '/' } });
  });
});

describe('platforms', () => {
  it('one target per platform; steps show theirs', async () => {
    const dockerfile = `
FROM --platform=$BUILDPLATFORM alpine:3 AS build
ARG TARGETARCH
RUN make $TARGETARCH
FROM alpine:3
COPY --from=build /out /
`;
    const { targets, names, config } = await convert(dockerfile, { platforms: [arm64, amd64] });
    expect(targets.map(({ platform }) => platform.architecture)).toEqual(['arm64', 'amd64']);
    expect(config.architecture).toBe('arm64');
    expect(names.some((name) => name.startsWith('[linux/arm64 stage-1 1/2] FROM'))).toBe(true);
    expect(names).toContain('[linux/amd64->arm64 build 2/2] RUN make arm64');
  });

  it('an image of Windows begins with the shell of Windows, which knows its search path itself', async () => {
    const windows = { os: 'windows', architecture: 'amd64' };
    const { config } = await convert('FROM scratch\nENTRYPOINT foo bar\n', { platforms: [windows] });
    expect(config.config?.Entrypoint).toEqual(['cmd', '/S', '/C', 'foo bar']);
    expect(config.config?.Env).toBeUndefined();
  });

  it('the version of the system is in the config, the args and the name; or it is the base’s', async () => {
    const base = 'docker.io/library/nano:1';
    const images = { [base]: { os: 'windows', 'os.version': '10.0.7.1' } };
    const windows = { os: 'windows', architecture: 'amd64' };
    const { targets, history } = await convert('FROM scratch\nARG TARGETPLATFORM\nARG TARGETOSVERSION\n', {
      platforms: ['1.2.3', '1.1.0'].map((version) => ({ ...windows, 'os.version': version })),
    });
    expect(targets.map(({ id }) => id)).toEqual(['windows(1.2.3)/amd64', 'windows(1.1.0)/amd64']);
    expect(targets.map(({ config }) => config['os.version'])).toEqual(['1.2.3', '1.1.0']);
    expect(history).toEqual(['ARG TARGETPLATFORM=windows(1.2.3)/amd64', 'ARG TARGETOSVERSION=1.2.3']);
    const based = await convert('FROM nano:1\n', { platforms: [windows] }, { images });
    expect(based.targets[0]).toMatchObject({
      id: 'windows/amd64',
      platform: { ...windows, 'os.version': '10.0.7.1' },
      config: { 'os.version': '10.0.7.1' },
    });
  });

  it('FROM --platform says what is wrong with it, and which argument may have been meant', async () => {
    await expect(convert('FROM --platform=$BULIDPLATFORM scratch\n')).rejects.toMatchObject({
      message: 'empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)',
      source: { ranges: [{ start: { line: 1 } }] },
    });
    const unset = 'ARG MY_ARCH=amd64\nFROM --platform=linux/$' + '{MYARCH} scratch\n';
    await expect(convert(unset)).rejects.toMatchObject({
      message:
        'failed to parse platform linux/$' +
        '{MYARCH}: "" is an invalid component of "linux/": ' +
        'platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument (did you mean MY_ARCH?)',
    });
    await expect(convert('FROM --platform=foobar scratch\n')).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining(
        '"foobar": unknown operating system or architecture: invalid argument',
      ),
    });
  });

  it('predefined args are there without a default, and only after ARG', async () => {
    const { history } = await convert('FROM alpine:3\nARG TARGETOS\nRUN echo\n', { platforms: [arm64] });
    expect(history.slice(1)).toEqual([
      'ARG TARGETOS=linux',
      'RUN |1 TARGETOS=linux /bin/sh -c echo # buildkit',
    ]);
  });

  it('an empty or wrong --platform is an error at its FROM', async () => {
    await expect(convert('FROM --platform=$X alpine:3\n')).rejects.toThrow(
      'empty platform value from expression $X',
    );
    await expect(convert('FROM --platform=a/b/c/d alpine:3\n')).rejects.toThrow(
      'failed to parse platform a/b/c/d',
    );
  });
});

describe('named contexts', () => {
  it('replace base images, also for one platform only', async () => {
    const namedContexts = { 'alpine:3::linux/amd64': 'docker-image://mine:1' };
    const { names, host } = await convert(
      'FROM alpine:3\nRUN x\n',
      { namedContexts },
      { images: { 'docker.io/library/mine:1': { config: { Env: ['MINE=1'] } } } },
    );
    expect(names[0]).toMatch(/^\[context alpine:3::linux\/amd64\] docker\.io\/library\/mine:1@sha256:/);
    expect(host.log).toContain('[context alpine:3::linux/amd64] load metadata for docker.io/library/mine:1');
  });

  it('replace stages, which are then not built', async () => {
    const { names } = await convert(
      'FROM nosuch AS lib\nRUN false\nFROM scratch\nCOPY --from=lib /a /b /\n',
      { namedContexts: { lib: 'local:libdir' } },
      { trees: { 'local://libdir': { '.dockerignore': 'tmp\n' } } },
    );
    expect(names).toEqual(['[context lib] load from client', '[stage-1 1/1] COPY --from=lib /a /b /']);
  });

  it('a folder sends only what is copied, without what it ignores', async () => {
    const result = await convert(
      'FROM scratch\nCOPY --from=lib /a b/*.txt /\n',
      { namedContexts: { lib: 'local:libdir' } },
      { trees: { 'local://libdir': { '.dockerignore': 'tmp\n' } } },
    );
    expect(result.op('[context lib] load from client', 'source').attrs).toMatchObject({
      'local.followpaths': '["a","b/*.txt"]',
      'local.excludepatterns': '["tmp"]',
    });
  });

  it('take git, http and OCI layouts; other kinds are an error', async () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const get = (value: string) =>
      convert(
        'FROM scratch\nCOPY --from=x / /\n',
        { namedContexts: { x: value } },
        {
          images: {
            [`docker.io/library/x@${digest}`]: {},
            'docker.io/library/x:v1': {},
            'docker.io/library/x:latest': {},
          },
        },
      );
    const source = (await get('https://h/r.git#v1:sub')).op(/^\[context x\] load git/, 'source');
    expect(source.identifier).toBe('git://h/r.git#v1:sub');
    expect((await get('https://h/f')).op('[context x] https://h/f', 'source').attrs).toEqual({
      'http.filename': 'context',
    });
    const layout = (await get(`oci-layout://store:tag@${digest}`)).op(/OCI load/, 'source');
    expect(layout).toMatchObject({
      identifier: `oci-layout://docker.io/library/x@${digest}`,
      attrs: { 'oci.store': 'store' },
    });
    // A tag, or none for the latest, is pinned to what it names now.
    for (const [value, ref] of [
      ['oci-layout://store:v1', 'docker.io/library/x:v1'],
      ['oci-layout://store', 'docker.io/library/x:latest'],
    ] as const) {
      const pinned = (await get(value)).op(/OCI load/, 'source');
      expect(pinned).toMatchObject({
        identifier: `oci-layout://docker.io/library/x@${digestOf(ref)}`,
        attrs: { 'oci.store': 'store' },
      });
    }
    await expect(get('ftp://x')).rejects.toThrow('named context x: unsupported context source "ftp://x"');
  });
});

describe('ONBUILD', () => {
  it('triggers of a base image run first, as steps of the stage', async () => {
    const { names, config, history } = await convert(
      'FROM alpine:3\nRUN own\n',
      {},
      {
        images: { [alpine]: { config: { OnBuild: ['COPY app /app', 'RUN make'] } } },
      },
    );
    expect(names).toContain('[2/4] ONBUILD COPY app /app');
    expect(names).toContain('[3/4] ONBUILD RUN make');
    expect(names).toContain('[4/4] RUN own');
    expect(config.config?.OnBuild).toBeUndefined();
    expect(history.at(1)).toBe('COPY app /app # buildkit');
  });

  it('triggers mind .dockerignore, also when the Dockerfile itself copies nothing', async () => {
    const result = await convert(
      'FROM alpine:3\n',
      {},
      {
        images: { [alpine]: { config: { OnBuild: ['COPY app /app'] } } },
        trees: { 'local://context': { '.dockerignore': 'tmp\n' } },
      },
    );
    expect(result.op('[internal] load build context', 'source').attrs).toMatchObject({
      'local.excludepatterns': '["tmp"]',
      'local.followpaths': '["app"]',
    });
  });

  it('triggers of a stage run in stages on top of it, and may need more stages', async () => {
    const { names, config } = await convert(`
FROM alpine:3 AS tools
RUN tool
FROM alpine:3 AS base
ONBUILD COPY --from=tools /t /t
FROM base
`);
    expect(names).toContain('[tools 2/2] RUN tool');
    expect(names).toContain('[stage-2 1/1] ONBUILD COPY --from=tools /t /t');
    expect(config.config?.OnBuild).toBeUndefined();
  });

  it('is kept in the config', async () => {
    const { config } = await convert('FROM alpine:3\nONBUILD RUN make\n');
    expect(config.config?.OnBuild).toEqual(['RUN make']);
  });
});
