/** What instructions make of an image's config. The expected values are what dockerd's BuildKit makes of them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';

const builds = new Builds();
beforeAll(() => builds.open());
afterAll(async () => {
  await builds.close();
  await closePool();
});

describe('config', () => {
  test('of everything that only describes the image', async () => {
    const { config, history } = await builds.build(`
ENV A=b C="d e" E=f\\ g
LABEL l=1 "m n"="o p"
EXPOSE 80 443/tcp 53/udp 100-102
VOLUME /v /w
VOLUME ["/x y"]
USER ann
WORKDIR /work/sub
STOPSIGNAL SIGTERM
ENTRYPOINT ["a","b"]
CMD c d`);
    expect(config).toMatchObject({
      Env: ['PATH=/bin', 'A=b', 'C=d e', 'E=f g'],
      Labels: { l: '1', 'm n': 'o p' },
      ExposedPorts: {
        '80/tcp': {},
        '443/tcp': {},
        '53/udp': {},
        '100/tcp': {},
        '101/tcp': {},
        '102/tcp': {},
      },
      Volumes: { '/v': {}, '/w': {}, '/x y': {} },
      User: 'ann',
      WorkingDir: '/work/sub',
      StopSignal: 'SIGTERM',
      Entrypoint: ['a', 'b'],
      Cmd: ['/bin/sh', '-c', 'c d'],
    });
    expect(history.slice(-4)).toEqual([
      'WORKDIR /work/sub',
      'STOPSIGNAL SIGTERM',
      'ENTRYPOINT ["a" "b"]',
      'CMD ["/bin/sh" "-c" "c d"]',
    ]);
  });

  test('SHELL is used by all shell forms after it', async () => {
    const { config } = await builds.build(`
SHELL ["/bin/busybox","sh","-c"]
RUN echo ok > /tmp/ok
HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --retries=4 CMD test -f /x
CMD foo
ENTRYPOINT bar`);
    expect(config.Shell).toEqual(['/bin/busybox', 'sh', '-c']);
    expect(config.Cmd).toEqual(['/bin/busybox', 'sh', '-c', 'foo']);
    expect(config.Entrypoint).toEqual(['/bin/busybox', 'sh', '-c', 'bar']);
    expect(config.Healthcheck).toEqual({
      Test: ['CMD-SHELL', 'test -f /x'],
      Interval: 5e9,
      Timeout: 3e9,
      StartPeriod: 60e9,
      Retries: 4,
    });
  });

  test('an ENTRYPOINT takes the base image’s CMD away, but not its own stage’s', async () => {
    expect((await builds.build('ENTRYPOINT ["e"]')).config.Cmd).toBeUndefined();
    expect((await builds.build('CMD ["c"]\nENTRYPOINT ["e"]')).config.Cmd).toEqual(['c']);
  });

  test('--label overrides what LABEL says', async () => {
    const { config } = await builds.build(
      'LABEL a="x y" b=\'q "r"\' c=d\\ e z=\nLABEL old style',
      {},
      {
        labels: { cli: '1', a: 'over' },
      },
    );
    expect(config.Labels).toEqual({ a: 'over', b: 'q "r"', c: 'd e', z: '', old: 'style', cli: '1' });
  });

  test('ENV in its old and new forms, with quotes, escapes and variables', async () => {
    const { config } = await builds.build(
      'ENV OLD some "quoted" value   here \nENV A="q\\"x" B=\'s$A\' C=a\\\\b D= F="$OLD"',
    );
    expect(config.Env?.slice(1)).toEqual([
      'OLD=some quoted value   here',
      'A=q"x',
      'B=s$A',
      'C=a\\b',
      'D=',
      'F=some quoted value   here',
    ]);
  });

  test('ONBUILD is kept for children, and run by them', async () => {
    const parent = await builds.build(
      'ONBUILD COPY a.txt /onb/\nONBUILD RUN echo hi > /onb/ran\nONBUILD ENV X=from-onbuild',
      {},
      { tags: ['parent'] },
    );
    expect(parent.config.OnBuild).toEqual([
      'COPY a.txt /onb/',
      'RUN echo hi > /onb/ran',
      'ENV X=from-onbuild',
    ]);
    const child = await builds.build('FROM parent\nRUN cat /onb/a.txt', { 'a.txt': 'A' });
    expect(child.list('/onb')).toEqual(['/onb/a.txt', '/onb/ran']);
    expect(child.config.Env).toContain('X=from-onbuild');
    expect(child.config.OnBuild ?? []).toEqual([]);
  });

  test('of an image with nothing in it', async () => {
    const { config, list } = await builds.build('FROM scratch\nLABEL a=b');
    expect(config.Labels).toEqual({ a: 'b' });
    expect(list('/')).toEqual([]);
  });
});

describe('variables', () => {
  test('ARG and ENV expand with all modifiers, and ENV wins', async () => {
    const { config, read } = await builds.build(
      `
ARG D=def
ARG F=one.two.three
ENV A=\${V:-none} B=\${D:+set} C=\${NOPE:-fallback} E=\${NOPE:+x}y G="$D" H='$D' I=\\$D
ENV S1=\${F#*.} S2=\${F##*.} S3=\${F%.*} S4=\${F%%.*} S5=\${F/./-} S6=\${F//./-}
ENV D=env
RUN echo $D $F > /tmp/out
ENV A=new B=$A`,
      {},
      { buildArgs: { D: 'given' } },
    );
    expect(config.Env?.slice(1)).toEqual([
      'A=new',
      'B=none',
      'C=fallback',
      'E=y',
      'G=given',
      'H=$D',
      'I=$D',
      'S1=two.three',
      'S2=three',
      'S3=one.two',
      'S4=one',
      'S5=one-two.three',
      'S6=one-two-three',
      'D=env',
    ]);
    expect(read('/tmp/out')).toBe('env one.two.three\n');
  });

  test('an ARG above the first FROM is seen after it is named again, and by child stages', async () => {
    const { read } = await builds.build(`
ARG G=g
FROM base AS a
RUN echo "[$G]" > /tmp/1
ARG G
ARG X=1
ARG Y=$X-y
ENV X=env
RUN echo "[$G]" > /tmp/2
FROM a
RUN echo "[$X][$Y][$G]" > /tmp/3`);
    expect([read('/tmp/1'), read('/tmp/2'), read('/tmp/3')]).toEqual(['[]\n', '[g]\n', '[env][1-y][g]\n']);
  });

  test('proxy arguments reach steps without ARG, and platform ones with it', async () => {
    const { read, config } = await builds.build(
      `RUN env | sort > /tmp/env
ARG TARGETARCH
ARG TARGETPLATFORM
RUN echo $TARGETARCH $TARGETPLATFORM > /tmp/platform`,
      {},
      { buildArgs: { HTTP_PROXY: 'http://proxy:1' } },
    );
    expect(read('/tmp/env')).toContain(
      'HTTP_PROXY=http://proxy:1\nhttp_proxy=http://proxy:1\n'.split('\n')[0],
    );
    expect(read('/tmp/platform')).toMatch(/^(amd64|arm64) linux\/\1\n$/);
    expect(config.Env).toEqual(['PATH=/bin']);
  });

  test('a required one that is not set is an error with its own words', async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a Dockerfile's own
    await expect(builds.build('ARG V\nENV A="${V:?say which version}"')).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('say which version'),
    });
  });
});

describe('the text of a Dockerfile', () => {
  test('another escape character, comments and empty lines inside an instruction', async () => {
    const one = await builds.build(
      '# escape=`\nFROM base\nRUN echo a `\n  # comment\n\n  b > /tmp/x\nENV P=C:\\foo',
    );
    expect(one.read('/tmp/x')).toBe('a b\n');
    expect(one.config.Env).toContain('P=C:\\foo');
    const two = await builds.build('ENV A=1 \\\n# no\n    B=2 \\\n\n    C=3');
    expect(two.config.Env?.slice(1)).toEqual(['A=1', 'B=2', 'C=3']);
  });

  test('here-documents for RUN and COPY', async () => {
    const { read, stat } = await builds.build(`ARG WHO=you
RUN <<EOF
echo one > /tmp/1
echo "$WHO" > /tmp/2
EOF
RUN cat <<'A' > /tmp/3 && cat <<-B > /tmp/4
literal $WHO
A
	tabs gone
B
COPY --chmod=750 <<one.sh <<two.txt /made/
#!/bin/sh
echo $WHO
one.sh
two $WHO
two.txt
COPY <<"EOF" /made/raw
$WHO
EOF`);
    expect([1, 2, 3, 4].map((n) => read(`/tmp/${n}`))).toEqual([
      'one\n',
      'you\n',
      'literal $WHO\n',
      'tabs gone\n',
    ]);
    expect(read('/made/one.sh')).toBe('#!/bin/sh\necho you\n');
    expect(read('/made/two.txt')).toBe('two you\n');
    expect(read('/made/raw')).toBe('$WHO\n');
    expect(stat('/made/one.sh')).toBe('file 750 0:0');
  });

  test('a target stage: only what it needs is built', async () => {
    const text = `
FROM base AS one
RUN echo 1 > /tmp/1
FROM base AS never
RUN exit 1
FROM one AS two
RUN echo 2 > /tmp/2
FROM never`;
    const built = await builds.build(text, {}, { target: 'two' });
    expect(built.list('/tmp')).toEqual(['/tmp/1', '/tmp/2']);
    expect([...builds.steps.keys()].some((name) => name.includes('exit 1'))).toBe(false);
  });
});
