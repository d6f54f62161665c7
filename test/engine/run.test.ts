/** RUN: mounts, secrets, users, networks, and how failures are told. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';

const builds = new Builds();
beforeAll(() => builds.open());
afterAll(async () => {
  await builds.close();
  await closePool();
});

describe('RUN --mount', () => {
  test('bind: of the context, a stage and an image; what is written to it is lost', async () => {
    const { list, read } = await builds.build(
      `FROM base AS other
RUN echo from other > /tmp/o
FROM base
RUN --mount=type=bind,source=src,target=/m cat /m/a.txt > /tmp/1
RUN --mount=from=other,target=/m cat /m/tmp/o > /tmp/2
RUN --mount=type=bind,from=base,source=/etc,target=/e cat /e/group > /tmp/3
RUN --mount=type=bind,target=/m,rw touch /m/new && ls /m > /tmp/4`,
      { 'src/a.txt': 'a' },
    );
    expect([1, 2].map((n) => read(`/tmp/${n}`))).toEqual(['a', 'from other\n']);
    expect(read('/tmp/4')).toBe('new\nsrc\n');
    // Mount points that were not there are not left behind.
    expect(list('/').filter((path) => /^\/[me]\//.test(path))).toEqual([]);
  });

  test('cache: kept between steps and builds, and not in the image', async () => {
    const text = (n: number) =>
      `RUN --mount=type=cache,target=/c echo ${n} >> /c/log && cat /c/log > /tmp/log`;
    await builds.build(text(1));
    const { read, stat } = await builds.build(text(2));
    expect(read('/tmp/log')).toBe('1\n2\n');
    expect(stat('/c')).toBeUndefined();
  });

  test('cache: a build without cache empties those its steps have, once, and no others', async () => {
    const add = (id: string, n: number) => `RUN --mount=type=cache,id=${id},target=/c echo ${n} >> /c/log`;
    const show =
      'RUN --mount=type=cache,id=a,target=/a --mount=type=cache,id=b,target=/b cat /?/log > /tmp/log';
    await builds.build([add('a', 1), add('b', 1)].join('\n'));
    await builds.build([add('a', 2), add('a', 3)].join('\n'), {}, { noCache: true });
    expect((await builds.build(show)).read('/tmp/log')).toBe('2\n3\n1\n');
  });

  test('cache: BUILDKIT_CACHE_MOUNT_NS gives a project mounts of its own', async () => {
    const log = 'RUN --mount=type=cache,id=ns,target=/c echo $WHO >> /c/log && cat /c/log > /tmp/log';
    const said = async (who: string, namespace?: string) => {
      const buildArgs = namespace === undefined ? undefined : { BUILDKIT_CACHE_MOUNT_NS: namespace };
      return (await builds.build(`ENV WHO=${who}\n${log}`, {}, { buildArgs })).read('/tmp/log');
    };
    expect(await said('one', 'project')).toBe('one\n');
    expect(await said('two')).toBe('two\n');
    expect(await said('three', 'project')).toBe('one\nthree\n');
  });

  test('tmpfs and secrets leave nothing in the image, and secrets nothing in the log', async () => {
    const { list, read } = await builds.build(
      `RUN --mount=type=tmpfs,target=/t echo y > /t/y && ls /t > /tmp/1
RUN --mount=type=secret,id=s,target=/foo,mode=0440,uid=5,gid=6 stat -c "%a %u:%g" /foo > /tmp/2; wc -c < /foo > /tmp/3
RUN --mount=type=secret,id=s,env=TOKEN [ "$TOKEN" = hush ] && ls /run > /tmp/4 || true
RUN --mount=type=secret,id=none ls /run/secrets 2>/dev/null | wc -l > /tmp/5`,
      {},
      { secrets: { s: 'hush' } },
    );
    expect([1, 2, 3, 5].map((n) => read(`/tmp/${n}`))).toEqual(['y\n', '440 5:6\n', '4\n', '0\n']);
    expect(list('/').filter((path) => /^\/(foo|t|run)(\/|$)/.test(path))).toEqual([]);
    expect(builds.logs).not.toContain('hush');
  });

  test('a required secret that is not given', async () => {
    await expect(builds.build('RUN --mount=type=secret,id=token,required true')).rejects.toMatchObject({
      message: expect.stringContaining('token'),
      hint: expect.stringContaining('--secret'),
    });
  });
});

describe('a step', () => {
  test('runs as its user, in its folder, with its environment', async () => {
    const { read, stat } = await builds.build(`
WORKDIR /w/a
WORKDIR ../b
RUN pwd > /tmp/1
ENV X=y
USER ann
RUN id -u > /tmp/2; id -g >> /tmp/2; echo $HOME $X >> /tmp/2
USER ann:video
RUN id -g > /tmp/3; touch /tmp/mine
USER 1234
RUN id -u > /tmp/4`);
    expect([1, 2, 3, 4].map((n) => read(`/tmp/${n}`))).toEqual([
      '/w/b\n',
      '1000\n1001\n/home/ann y\n',
      '44\n',
      '1234\n',
    ]);
    expect(stat('/tmp/mine')).toBe('file 644 1000:44');
  });

  test('sees no network with --network=none', async () => {
    const { read } = await builds.build('RUN --network=none ip -o addr > /tmp/n; true');
    expect(read('/tmp/n')).not.toMatch(/inet (?!127\.)/);
  });

  test('that fails names its command, exit code, line and last words', async () => {
    const failed = builds.build('RUN echo before\nRUN echo "it broke" >&2; exit 3');
    await expect(failed).rejects.toMatchObject({
      code: 'failed',
      exitCode: 3,
      message: expect.stringContaining('did not complete successfully: exit code: 3'),
      source: { ranges: [{ start: { line: 3 } }] },
    });
    expect(builds.logs).toContain('it broke');
  });

  test('of a user or group that the image does not know', async () => {
    await expect(builds.build('USER nobody-here\nRUN true')).rejects.toMatchObject({
      message: expect.stringContaining('unable to find user nobody-here'),
    });
    await expect(builds.build('USER ann:nogroup\nRUN true')).rejects.toMatchObject({
      message: expect.stringContaining('unable to find group nogroup'),
    });
  });

  test('removes, renames and replaces what lower layers have', async () => {
    const { list, read } = await builds.build(
      `COPY t /t
RUN rm -rf /t/d && mkdir /t/d && echo n > /t/d/new && mv /t/a /t/a2 && rm /t/b
RUN rm -rf /t/x && ln -s a2 /t/x`,
      { 't/a': 'a', 't/b': 'b', 't/d/old': 'o', 't/x/y': 'y' },
    );
    expect(list('/t')).toEqual(['/t/a2', '/t/d/', '/t/d/new', '/t/x']);
    expect(read('/t/a2')).toBe('a');
  });
});

describe('the second build', () => {
  test('is cached throughout, and again from where something changed', async () => {
    const text = 'RUN echo one > /tmp/1\nCOPY a b /x/\nRUN echo two > /tmp/2';
    const cachedOf = () =>
      [...builds.steps].filter(([name, step]) => /RUN|COPY/.test(name) && step.cached).map(([name]) => name);
    await builds.build(text, { a: '1', b: '2' });
    await builds.build(text, { a: '1', b: '2' });
    expect(cachedOf()).toHaveLength(3);
    await builds.build(text, { a: 'changed', b: '2' });
    expect(cachedOf()).toEqual([expect.stringContaining('RUN echo one')]);
    await builds.build(text, { a: '1', b: '2', c: 'not copied' });
    expect(cachedOf()).toHaveLength(3);
  });
});
