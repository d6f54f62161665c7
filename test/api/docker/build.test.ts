/** `POST /build` as clients use it: the mission's story first. Each test runs on both stores. */
import { readdirSync, readFileSync } from 'node:fs';
import { type ClientRequest, request } from 'node:http';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StatusResponseSchema } from '../../../src/pb/moby/buildkit/v1/status_pb.js';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { type TestFile, tarOf } from '../../kit/images.ts';
import { onStores } from '../../kit/stores.ts';

const busybox = readFileSync('/bin/busybox');

/** A context whose steps can run a shell. */
function contextOf(steps: string, more: Record<string, TestFile> = {}, name = 'Dockerfile'): Buffer {
  const base = 'FROM scratch\nCOPY busybox /bin/sh\n';
  return tarOf({ [name]: `${base}${steps}\n`, busybox: { data: busybox, mode: 0o755 }, ...more });
}

interface Line {
  id?: string;
  aux?: unknown;
  stream?: string;
  error?: string;
  errorDetail?: { message: string; code?: number };
}

/** What Terraform's provider 3.0.2 sends beside the session: every parameter, also those that are zero. */
const zeroes =
  'buildargs=null&cachefrom=null&cgroupparent=&cpuperiod=0&cpuquota=0&cpusetcpus=&cpusetmems=&cpushares=0' +
  '&labels=%7B%7D&memory=0&memswap=0&networkmode=&rm=1&shmsize=0&target=&ulimits=null&version=2';

onStores('POST /build', (store) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
  });
  afterAll(() => daemon.stop());

  const build = (query: string, body: Buffer | Readable | string, headers: Record<string, string> = {}) =>
    daemon.ask('POST', `/build?${query}`, {
      body,
      headers: { 'content-type': 'application/x-tar', ...headers },
    });

  const statuses = (lines: Line[]) =>
    lines
      .filter(({ id }) => id === 'moby.buildkit.trace')
      .map(({ aux }) => fromBinary(StatusResponseSchema, Buffer.from(String(aux), 'base64')));

  const imageId = (lines: Line[]) =>
    (lines.find(({ id }) => id === 'moby.image.id')?.aux as { ID: string } | undefined)?.ID;

  const imageIdOfText = (lines: Line[]) => {
    const aux = lines.find((line) => line.aux !== undefined)?.aux as { ID: string } | undefined;
    return aux?.ID ?? '';
  };

  const images = async () =>
    (await daemon.ask('GET', '/images/json')).json<{ Id: string; RepoTags: string[] }[]>();

  /** Shells of steps that run now, in any container of this machine that runs this test's endless step. */
  const running = () =>
    readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`endless ${daemon.dir}`);
      } catch {
        return false;
      }
    });

  /** Opens a session as Terraform's provider does, and closes it at once. */
  const deadSession = (id: string) =>
    new Promise<void>((resolve, reject) => {
      const asked: ClientRequest = request({
        socketPath: daemon.socket,
        method: 'POST',
        path: '/session',
        headers: { connection: 'Upgrade', upgrade: 'h2c', 'x-docker-expose-session-uuid': id },
      });
      asked.on('upgrade', (_, socket) => {
        socket.on('close', () => resolve());
        socket.on('error', () => {});
        socket.destroy();
      });
      asked.on('error', reject);
      asked.end();
    });

  test.each([
    ['no session', undefined],
    ['a session that is closed at once', 'dead'],
  ])('version 2, a posted tar, %s: builds, and builds from cache the second time', async (_, kind) => {
    const tag = `story-${kind ?? 'none'}`;
    const session = kind === undefined ? '' : `&session=${tag}`;
    if (kind !== undefined) await deadSession(tag);
    const tar = contextOf(`RUN echo ${tag} > /out`, {}, '.dockerfile.random');
    const query = `${zeroes}&dockerfile=.dockerfile.random&t=${tag}:1${session}`;
    const first = await build(query, Readable.from([tar.subarray(0, 700), tar.subarray(700)]));
    expect(first.status).toBe(200);
    expect(first.headers['content-type']).toBe('application/json');
    expect(first.text.endsWith('\r\n')).toBe(true);
    expect(first.lines<Line>().filter(({ error }) => error !== undefined)).toEqual([]);
    const id = imageId(first.lines());
    const names = statuses(first.lines()).flatMap(({ vertexes }) => vertexes.map(({ name }) => name));
    expect(names).toContain(`[2/2] RUN echo ${tag} > /out`);
    const listed = (await images()).filter(({ RepoTags }) => RepoTags.includes(`${tag}:1`));
    expect(listed.map(({ Id }) => Id)).toEqual([id]);
    const second = await build(query, gzipSync(tar));
    expect(imageId(second.lines())).toBe(id);
    const run = statuses(second.lines())
      .flatMap(({ vertexes }) => vertexes)
      .filter(({ name }) => name.includes('RUN echo'));
    expect(run.at(-1)?.cached).toBe(true);
  });

  test('version 1: docker’s text of old', async () => {
    const tar = contextOf('ENV A=b\nRUN echo hello && echo oops >&2\nCMD ["sh"]');
    const first = (await build('t=classic:1', tar)).lines<Line>();
    const text = first.map(({ stream }) => stream ?? '').join('');
    expect(text).toMatch(/^Step 1\/5 : FROM scratch\n ---> \nStep 2\/5 : COPY busybox \/bin\/sh\n/);
    expect(text).toMatch(/Step 4\/5 : RUN echo hello && echo oops >&2\n ---> Running in [0-9a-f]{12}\n/);
    // Which of the two pipes is read first is nobody's to say.
    expect(text).toMatch(/^(?:.*\u001b\[0m)?hello$/m);
    expect(text).toContain('oops\n');
    expect(text).toMatch(
      / ---> Removed intermediate container [0-9a-f]{12}\n ---> [0-9a-f]{12}\nStep 5\/5 : CMD/,
    );
    const id = imageIdOfText(first);
    expect(text.endsWith(`Successfully built ${id.slice(7, 19)}\nSuccessfully tagged classic:1\n`)).toBe(
      true,
    );
    const again = (await build('t=classic:1', zstdCompressSync(tar))).lines<Line>();
    expect(again.map(({ stream }) => stream ?? '').join('')).toMatch(
      /Step 4\/5 : RUN[^\n]*\n ---> Using cache\n ---> [0-9a-f]{12}\n/,
    );
  });

  test('a step that fails: its code, its output before it, and no image', async () => {
    const tar = contextOf('RUN echo before && exit 7');
    const one = (await build('t=broken:1', tar)).lines<Line>();
    expect(one.map(({ stream }) => stream ?? '').join('')).toMatch(/Step 3\/3 : RUN[^\n]*\n[\s\S]*before\n$/);
    expect(one.at(-1)?.errorDetail?.code).toBe(7);
    expect(one.at(-1)?.error).toContain("'/bin/sh -c echo before && exit 7' returned a non-zero code: 7");
    const two = (await build('t=broken:1&version=2', tar)).lines<Line>();
    expect(two.at(-1)?.error).toMatch(/RUN echo before && exit 7: process .* exit code: 7 \(Dockerfile:3\)/);
    expect((await images()).flatMap(({ RepoTags }) => RepoTags)).not.toContain('broken:1');
  });

  test('q=1: one line with the ID', async () => {
    const [line, ...rest] = (await build('q=1', contextOf('ENV Q=1'))).lines<Line>();
    expect(line?.stream).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(rest).toEqual([]);
  });

  test('limits, hosts and shared memory of the request go to its steps', async () => {
    const limits = 'ulimits=[{"Name":"nofile","Soft":77,"Hard":88}]&shmsize=1048576&extrahosts=foo:10.1.2.3';
    const look = 'ulimit -n; while read line; do echo "$line"; done < /etc/hosts';
    const more = 'while read line; do case "$line" in *shm*) echo "$line";; esac; done < /proc/mounts';
    const lines = (await build(encodeURI(limits), contextOf(`RUN ${look}; ${more}`))).lines<Line>();
    const text = lines.map(({ stream }) => stream ?? '').join('');
    expect(text).toContain('\n77\n');
    expect(text).toContain('10.1.2.3\tfoo\n');
    expect(text).toContain('size=1024k');
  });

  test('memory is limited where this machine has a cgroup for it, else a warning says that it is not', async () => {
    const step =
      'RUN : memory; for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do ' +
      '[ -e $f ] && read x < $f && echo "limit $x"; done; true';
    const lines = (await build('memory=67108864', contextOf(step))).lines<Line>();
    const text = lines.map(({ stream }) => stream ?? '').join('');
    expect(text).toMatch(/limit 67108864\n|this host has no memory cgroup: its limits are not applied/);
    if (!text.includes('limit 67108864')) return;
    const hog = contextOf('RUN head -c 200000000 /dev/zero | tail');
    for (const version of ['1', '2']) {
      const failed = (await build(`memory=33554432&memswap=33554432&version=${version}`, hog)).lines<Line>();
      expect(failed.at(-1)?.error).toContain(
        'cannot allocate memory (the kernel killed a process of it at the memory limit of 32MiB)',
      );
    }
  });

  test('a bare Dockerfile for a body', async () => {
    for (const query of [
      'version=2',
      'version=1',
      'version=2&dockerfile=other',
      'version=1&dockerfile=a/b',
    ]) {
      const lines = (await build(query, 'FROM scratch\nLABEL a=b\n')).lines<Line>();
      expect(imageId(lines) ?? imageIdOfText(lines), query).toMatch(/^sha256:/);
    }
  });

  test('the files come by another request, parked under the build’s ID', async () => {
    const tar = contextOf('ENV PARKED=1');
    const [parked, built] = await Promise.all([
      build('version=2&buildid=upload-request:p1', tar),
      daemon.ask('POST', '/build?version=2&remote=upload-request&buildid=p1'),
    ]);
    expect(parked).toMatchObject({ status: 200, text: '' });
    expect(imageId(built.lines())).toMatch(/^sha256:/);
  });

  test('wrong parameters are refused before anything is built, and the upload is read to its end', async () => {
    const tar = contextOf('ENV X=1', { big: Buffer.alloc(8 << 20) });
    for (const [query, status, text] of [
      ['t=UPPER', 400, 'invalid tag "UPPER"'],
      ['version=3', 400, 'invalid version "3"'],
      ['ulimits=[{"Name":"nofile","Soft":9,"Hard":1}]', 400, 'soft limit'],
      ['outputs=[{"Type":"nope"}]', 400, 'exporter "nope" could not be found'],
      ['networkmode=container:x', 400, 'network mode'],
      ['squash=1&outputs=[{"Type":"local"}]', 400, 'squash: no output makes an image'],
      ['labels={', 400, 'error reading labels'],
    ] as const) {
      const answer = await build(query, tar);
      expect(answer.status, query).toBe(status);
      expect(answer.json().message).toContain(text);
    }
  });

  test('an upload that breaks off is told of as such, and a Dockerfile that is not there with what there is', async () => {
    const cut = (await build('version=2', contextOf('ENV X=1').subarray(0, 5000))).lines<Line>();
    expect(cut.at(-1)?.error).toMatch(/load build context.*(archive|tar|ends).*\nat hop: context/);
    const missing = (await build('version=2&dockerfile=Nope', contextOf('ENV X=1'))).lines<Line>();
    expect(missing.at(-1)?.error).toContain(
      'failed to read dockerfile: open Nope: no such file or directory',
    );
    expect(missing.at(-1)?.error).toContain('hint: There is Dockerfile');
    // Nor is an archive's only file taken for another.
    const alone = tarOf({ Dockerfile: 'FROM scratch\nLABEL a=b\n' });
    const only = (await build('version=2&dockerfile=nope', alone)).lines<Line>();
    expect(only.at(-1)?.error).toContain('failed to read dockerfile: open nope: no such file or directory');
    const classic = await build('version=1&dockerfile=nope', alone);
    expect(classic).toMatchObject({ status: 500 });
    expect(classic.text).toContain('Cannot locate specified Dockerfile: nope');
  });

  test('/build/cancel and a client that goes away stop a build', async () => {
    const slow = contextOf(
      `RUN echo started && : endless ${daemon.dir} && while true; do read -t 1 x < /dev/zero || true; done`,
    );
    const started = Promise.withResolvers<void>();
    const asked = request({
      socketPath: daemon.socket,
      method: 'POST',
      path: '/build?buildid=slow',
      agent: false,
    });
    let told = '';
    const ended = new Promise<void>((resolve, reject) => {
      asked.on('error', reject);
      asked.on('response', (response) => {
        response.on('data', (data: Buffer) => {
          told += data;
          if (told.includes('"started')) started.resolve();
        });
        response.on('end', resolve);
      });
    });
    asked.end(slow);
    await started.promise;
    expect((await daemon.ask('POST', '/build/cancel?id=slow')).status).toBe(204);
    await ended;
    expect(told).toMatch(/"errorDetail":\{"message":"[^"]*cancel/);
    // Another client builds the same and goes away: nothing runs on for it.
    const left = request({ socketPath: daemon.socket, method: 'POST', path: '/build', agent: false });
    const gone = new Promise<void>((resolve) => {
      left.on('error', () => {});
      left.on('response', (response) => {
        response.on('error', () => {});
        response.on('data', (data: Buffer) => {
          if (data.includes('"started')) left.destroy();
        });
        response.on('close', resolve);
      });
    });
    left.end(slow);
    await gone;
    await expect.poll(() => running().length).toBe(0);
    expect((await daemon.ask('POST', '/build/cancel?id=unknown')).status).toBe(204);
    expect((await daemon.ask('POST', '/build/cancel')).status).toBe(400);
  });
});
