import { describe, expect, it } from 'vitest';
import { alpine, convert } from './fake-host.ts';

const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** History and config of instructions on alpine. */
const on = (lines: string, changes = {}, world = {}) => convert(`FROM alpine:3\n${lines}`, changes, world);

describe('ARG and ENV', () => {
  it('the client’s value wins over the default; ENV wins over ARG', async () => {
    const { history, config } = await on('ARG A=1 B=$A\nARG C=3\nENV C=env\nRUN x\n', {
      buildArgs: { A: '9' },
    });
    expect(history.slice(1)).toEqual([
      'ARG A=9 B=9',
      'ARG C=3',
      'ENV C=env',
      'RUN |3 A=9 B=9 C=env /bin/sh -c x # buildkit',
    ]);
    expect(config.config?.Env).toEqual([path, 'C=env']);
  });

  it('global ARGs reach a stage only through ARG', async () => {
    const dockerfile = 'ARG V=3\nARG W=$V-x\nFROM alpine:$V\nARG W\nRUN echo $W $V\n';
    const { history, names, warnings } = await convert(dockerfile);
    expect(history.slice(1)).toEqual(['ARG W=3-x', 'RUN |1 W=3-x /bin/sh -c echo $W $V # buildkit']);
    expect(names).toContain('[2/2] RUN echo 3-x $V');
    expect(warnings).toEqual([]);
  });

  it('ARGs of a stage hold in stages on top of it', async () => {
    const { history } = await convert('FROM alpine:3 AS a\nARG X=1\nFROM a\nRUN y\n');
    expect(history.at(-1)).toBe('RUN |1 X=1 /bin/sh -c y # buildkit');
  });

  it('pairs of one ENV all see the environment before it; a variable keeps its place', async () => {
    const { config } = await on('ENV A=1 B=2\nENV A=3 C=$A\nENV legacy some  words\n');
    expect(config.config?.Env).toEqual([path, 'A=3', 'B=2', 'C=1', 'legacy=some  words']);
  });

  it('proxies reach RUN beside its cache key, SBOM switches do not reach it at all', async () => {
    const buildArgs = { HTTP_PROXY: 'http://p', no_proxy: 'local', BUILDKIT_SBOM_SCAN_STAGE: 'true' };
    const result = await on('ARG BUILDKIT_SBOM_SCAN_STAGE\nRUN x\n', { buildArgs });
    const { meta } = result.op('[2/2] RUN x', 'exec');
    expect(meta?.proxyEnv).toMatchObject({ httpProxy: 'http://p', noProxy: 'local' });
    expect(meta?.env).toEqual([path]);
    expect(result.warnings).toEqual([]);
  });

  it('warns of build args that no ARG takes', async () => {
    const { warnings } = await on('ARG USED\n', { buildArgs: { USED: '1', TYPO: '1', OTHER: '2' } });
    expect(warnings.map(({ message }) => message)).toEqual([
      '[Warning] One or more build-args [OTHER TYPO] were not consumed',
    ]);
  });
});

describe('instructions that change the config', () => {
  it('write the history that BuildKit writes', async () => {
    const { history, config } = await on(`
LABEL a=1 "b c"='d e'
MAINTAINER me
EXPOSE 80 8000-8001/udp
VOLUME ["/data", "/log"]
USER 1000:1000
STOPSIGNAL SIGINT
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=90s --retries=3 CMD curl "localhost"
CMD echo "hi"
ENTRYPOINT ["/bin/app", "a\\tb"]
WORKDIR /
WORKDIR srv
`);
    expect(history.slice(1)).toEqual([
      'LABEL a=1 b c=d e',
      'MAINTAINER me',
      'EXPOSE [80/tcp 8000/udp 8001/udp]',
      'VOLUME [/data /log]',
      'USER 1000:1000',
      'STOPSIGNAL SIGINT',
      'SHELL [/bin/bash -c]',
      'HEALTHCHECK {Test:[CMD-SHELL curl "localhost"] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}',
      'CMD ["/bin/bash" "-c" "echo \\"hi\\""]',
      'ENTRYPOINT ["/bin/app" "a\\tb"]',
      'WORKDIR /',
      'WORKDIR /srv',
    ]);
    expect(config).toMatchObject({
      author: 'me',
      config: {
        Labels: { a: '1', 'b c': 'd e' },
        ExposedPorts: { '80/tcp': {}, '8000/udp': {}, '8001/udp': {} },
        Volumes: { '/data': {}, '/log': {} },
        User: '1000:1000',
        StopSignal: 'SIGINT',
        Shell: ['/bin/bash', '-c'],
        Healthcheck: { Test: ['CMD-SHELL', 'curl "localhost"'], Interval: 90e9, Retries: 3 },
        Cmd: ['/bin/bash', '-c', 'echo "hi"'],
        Entrypoint: ['/bin/app', 'a\tb'],
        WorkingDir: '/srv',
      },
    });
    expect(config.history?.map((entry) => entry.empty_layer ?? false)).toEqual([
      ...Array(12).fill(true).with(0, false),
      false,
    ]);
    expect(config.history?.at(-1)?.comment).toBe('buildkit.dockerfile.v0');
  });

  it('ENTRYPOINT drops the CMD of the base, not one of the same stage', async () => {
    const images = { [alpine]: { config: { Cmd: ['sh'] } } };
    expect((await on('ENTRYPOINT ["x"]\n', {}, { images })).config.config?.Cmd).toBeUndefined();
    expect((await on('CMD ["y"]\nENTRYPOINT ["x"]\n', {}, { images })).config.config?.Cmd).toEqual(['y']);
    expect((await on('USER x\n', {}, { images })).config.config?.Cmd).toEqual(['sh']);
  });

  it('HEALTHCHECK NONE, labels of the request, no creation time of the base', async () => {
    const { config } = await on('HEALTHCHECK NONE\nLABEL a=1\n', { labels: { a: '2', b: '3' } });
    expect(config.config?.Healthcheck).toEqual({ Test: ['NONE'] });
    expect(config.config?.Labels).toEqual({ a: '2', b: '3' });
    expect(config.created).toBeUndefined();
    expect(config.rootfs.diff_ids).toEqual([]);
  });

  it('the base’s config is taken over, but not what older tools left in it', async () => {
    const container = { Env: null, Cmd: ['sh'], Hostname: 'abc', Labels: null, Tty: false };
    const image = { config: container, container_config: {}, docker_version: '1', history: null };
    const { config } = await on('LABEL a=1\n', {}, { images: { [alpine]: image as never } });
    expect(config).toEqual({
      os: 'linux',
      architecture: 'amd64',
      config: { Cmd: ['sh'], Labels: { a: '1' }, Env: [path] },
      rootfs: { type: 'layers', diff_ids: [] },
      history: [{ created_by: 'LABEL a=1', comment: 'buildkit.dockerfile.v0', empty_layer: true }],
    });
  });

  it('errors point at the instruction', async () => {
    const at = (line: number) => ({
      source: { ranges: [{ start: { line } }] },
      hop: 'dockerfile',
      code: 'invalid',
    });
    await expect(on('STOPSIGNAL SIGFOO\n')).rejects.toMatchObject({
      message: 'invalid signal: SIGFOO',
      ...at(2),
    });
    await expect(on('EXPOSE 70000\n')).rejects.toMatchObject({
      message: 'invalid containerPort: 70000',
      ...at(2),
    });
    await expect(on('ENV A=$' + '{B:?unset}\n')).rejects.toMatchObject(at(2));
    await expect(on('USER x\nRUN --mount=target=/ y\n')).rejects.toMatchObject({
      message: 'invalid mount target "/"',
      ...at(3),
    });
  });
});

describe('WORKDIR', () => {
  it('makes the folder for the user of the stage, with the time of SOURCE_DATE_EPOCH', async () => {
    const result = await on('USER app\nWORKDIR /srv/app\n', { sourceDateEpoch: 5 });
    const [action] = result.op('[2/2] WORKDIR /srv/app', 'file').actions;
    expect(action?.action.value).toMatchObject({
      path: '/srv/app',
      mode: 0o755,
      makeParents: true,
      timestamp: 5_000_000_000n,
      owner: { user: { user: { case: 'byName', value: { name: 'app' } } } },
    });
    expect(result.config.history?.at(-1)).toMatchObject({
      created: '1970-01-01T00:00:05Z',
      created_by: 'WORKDIR /srv/app',
    });
  });

  it('a relative one is joined and cleaned, an absolute one stays as written', async () => {
    const { config, history } = await on(
      'ARG D=/x\nWORKDIR /a\nWORKDIR b/../c/\nWORKDIR .\nWORKDIR $D/$MISSING\n',
    );
    expect(history.filter((line) => line?.startsWith('WORKDIR'))).toEqual([
      'WORKDIR /a',
      'WORKDIR /a/c',
      'WORKDIR /a/c',
      'WORKDIR /x/',
    ]);
    expect(config.config?.WorkingDir).toBe('/x/');
  });

  it('SOURCE_DATE_EPOCH must be a number', async () => {
    await expect(on('', { buildArgs: { SOURCE_DATE_EPOCH: 'now' } })).rejects.toThrow(
      'invalid SOURCE_DATE_EPOCH: now',
    );
  });
});

describe('RUN', () => {
  it('carries environment, folder, user, hosts, limits, and its place in the Dockerfile', async () => {
    const result = await on('USER app\nWORKDIR /srv\nRUN make\n', {
      extraHosts: [{ host: 'db', ip: '10.0.0.1' }],
      ulimits: [{ name: 'nofile', soft: 1, hard: 2 }],
      shmSize: 1024,
      hostname: 'box',
      cgroupParent: 'cg',
      network: 'none',
      noCache: true,
    });
    const exec = result.op('[3/3] RUN make', 'exec');
    expect(exec).toMatchObject({
      network: 2,
      meta: {
        args: ['/bin/sh', '-c', 'make'],
        cwd: '/srv',
        user: 'app',
        hostname: 'box',
        cgroupParent: 'cg',
        extraHosts: [{ Host: 'db', IP: '10.0.0.1' }],
        ulimit: [{ Name: 'nofile', Soft: 1n, Hard: 2n }],
      },
    });
    expect(exec.mounts.map(({ dest }) => dest)).toEqual(['/', '/dev/shm']);
    const vertex = result.vertex('[3/3] RUN make');
    expect(vertex.metadata?.ignoreCache).toBe(true);
    expect(vertex.source).toMatchObject({ filename: 'Dockerfile', ranges: [{ start: { line: 4 } }] });
    expect(vertex.metadata?.description['com.docker.dockerfile.v1.command']).toBe('RUN make');
  });

  it('noCacheFilter is for the steps of one stage', async () => {
    const result = await convert('FROM alpine:3 AS a\nRUN 1\nFROM a AS b\nRUN 2\n', { noCacheFilter: ['B'] });
    expect(result.vertex(/RUN 1/).metadata?.ignoreCache).toBe(false);
    expect(result.vertex(/RUN 2/).metadata?.ignoreCache).toBe(true);
  });

  it('noCacheFilter names steps by line and by text', async () => {
    const text = 'FROM alpine:3 AS a\nRUN 1 \\\n  x\nRUN make all\nFROM a\nRUN make it\nCOPY f /\n';
    const again = async (...noCacheFilter: string[]) => {
      const { vertices } = await convert(text, { noCacheFilter });
      const names = vertices.filter(({ metadata }) => metadata?.ignoreCache);
      return names.map(({ name }) => name.replace(/^.*] /, '')).toSorted();
    };
    expect(await again('3')).toEqual(['RUN 1   x']);
    expect(await again('5')).toEqual(['COPY f /', 'RUN make it']);
    expect(await again('RUN make*', 'COPY f /')).toEqual(['COPY f /', 'RUN make all', 'RUN make it']);
    expect(await again('RUN * it')).toEqual(['RUN make it']);
    expect(await again('RUN make*l*l', 'a')).toEqual(['RUN 1   x', 'RUN make all']);
    expect(await again('COPY*')).toEqual(['COPY f /']);
    await expect(again('99')).rejects.toThrow('there is no RUN, COPY or ADD on line 99');
    await expect(again('RUN make *all')).resolves.toEqual(['RUN make all']);
    await expect(again('RUN mak')).rejects.toThrow('there is no RUN, COPY or ADD like "RUN mak"');
  });

  it('exec form, network and security', async () => {
    const result = await on('RUN --network=host --security=insecure ["a", "b"]\n');
    expect(result.op(/RUN/, 'exec')).toMatchObject({ network: 1, security: 1, meta: { args: ['a', 'b'] } });
    expect(result.history.at(-1)).toBe('RUN a b # buildkit');
  });

  it('mounts of every type', async () => {
    const result = await on(
      `ENV DIR=/work
WORKDIR /srv
RUN --mount=target=. \\
  --mount=type=bind,from=busybox:1,source=/bin,target=/bb,rw \\
  --mount=type=cache,target=$DIR/c,id=go,sharing=locked,uid=1 \\
  --mount=type=cache,target=/plain \\
  --mount=type=tmpfs,target=/t,size=1m \\
  --mount=type=secret,id=tok,env=TOKEN,required \\
  --mount=type=secret,id=key,target=/k,mode=0440 \\
  --mount=type=ssh \\
  make $TOKEN
`,
      {},
      { images: { 'docker.io/library/busybox:1': {} } },
    );
    const exec = result.op(/RUN/, 'exec');
    const by = (dest: string) => exec.mounts.find((mount) => mount.dest === dest);
    expect(by('/srv')).toMatchObject({ readonly: true, output: -1n, selector: '' });
    expect(by('/bb')).toMatchObject({ readonly: false, output: -1n, selector: '/bin' });
    expect(by('/work/c')).toMatchObject({ cacheOpt: { ID: '/go', sharing: 2 }, selector: '/cache' });
    expect(by('/plain')).toMatchObject({ input: -1n, cacheOpt: { ID: '//plain', sharing: 0 } });
    expect(by('/t')).toMatchObject({ TmpfsOpt: { size: 1048576n } });
    expect(by('/k')).toMatchObject({ secretOpt: { ID: 'key', mode: 0o440, optional: true } });
    expect(by('/run/buildkit/ssh_agent.0')).toMatchObject({ SSHOpt: { ID: 'default', optional: true } });
    expect(exec.secretenv).toMatchObject([{ ID: 'tok', name: 'TOKEN', optional: false }]);
    expect(result.names.at(-1)).toMatch(/make \*\*\*\*$/);
    expect(
      result.op('[internal] setting cache mount permissions', 'file').actions[0]?.action.value,
    ).toMatchObject({
      path: '/cache',
      owner: { user: { user: { value: 1 } }, group: { user: { value: 0 } } },
    });
    // All of the context may be read.
    expect(result.op('[internal] load build context', 'source').attrs['local.followpaths']).toBeUndefined();
  });

  it('a mount from the context sends only its source', async () => {
    const result = await on('RUN --mount=source=go.sum,target=/go.sum x\n');
    expect(result.op(/context/, 'source').attrs['local.followpaths']).toBe('["go.sum"]');
  });

  it('a heredoc is a script for the shell', async () => {
    const result = await on('RUN <<EOF\necho 1\necho 2\nEOF\n');
    const name = '[2/2] RUN <<EOF (echo 1...)';
    expect(result.op(name, 'exec').meta?.args).toEqual(['/bin/sh', '-c', 'echo 1\necho 2\n']);
  });

  it('a heredoc with #! is a file that is run', async () => {
    const result = await on('RUN <<EOF\n#!/usr/bin/python\nprint(1)\nEOF\n');
    const exec = result.op(/RUN/, 'exec');
    expect(exec.meta?.args).toEqual(['/bin/sh', '-c', '/dev/pipes/EOF']);
    expect(exec.mounts[1]).toMatchObject({ dest: '/dev/pipes', readonly: true });
    const [action] = result.op('[internal] preparing inline document', 'file').actions;
    expect(action?.action.value).toMatchObject({ path: '/EOF', mode: 0o755 });
  });

  it('a heredoc that is input of a command stays with it', async () => {
    const result = await on('RUN python <<EOF\nprint(1)\nEOF\n');
    expect(result.op(/RUN/, 'exec').meta?.args[2]).toBe('python <<EOF\nprint(1)\nEOF');
  });
});
