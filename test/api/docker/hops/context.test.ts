/**
 * The hops that bring a build's files fail in turn: the upload, the client's session, a remote URL, git. The client
 * reads the step, the hop, the cause and what to do; nothing of the build stays, and the next one works.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { create } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { StatSchema, Packet_PacketType as Type } from '../../../../src/pb/fsutil/wire_pb.js';
import { ApiBuilds, bytesOf, shellContext } from '../../../kit/api-builds.ts';
import { answerGit } from '../../../kit/git-server.ts';
import { startServer, type TestServer } from '../../../kit/http-server.ts';
import { tarOf } from '../../../kit/images.ts';
import { pack, sendFolder } from '../../../kit/session/files.ts';
import { SessionClient } from '../../../kit/session/session-client.ts';
import { onLocal } from '../../../kit/stores.ts';

onLocal('a context that does not come', (store) => {
  let builds: ApiBuilds;
  beforeAll(async () => {
    builds = await ApiBuilds.open(store);
  });
  afterAll(() => builds.stop());
  afterEach(async () => {
    expect(await builds.tags()).not.toContain('half:1');
    expect(await builds.leftBehind()).toEqual([]);
  });

  describe('the upload', () => {
    const tar = tarOf({ Dockerfile: 'FROM scratch\nCOPY . /\n', big: Buffer.alloc(1 << 20, 7) });

    /** Sends a build's head and the first part of its body, as it is on the wire. */
    async function begin(framing: 'length' | 'chunked', part: Buffer, query = 'version=2'): Promise<Socket> {
      const socket = connect({ path: builds.daemon.socket, allowHalfOpen: true });
      await new Promise<void>((resolve) => socket.once('connect', resolve));
      const how = framing === 'length' ? `Content-Length: ${tar.length}` : 'Transfer-Encoding: chunked';
      socket.write(
        `POST /build?${query}&t=half:1 HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\n${how}\r\n\r\n`,
      );
      if (framing === 'chunked') socket.write(`${part.length.toString(16)}\r\n`);
      socket.write(part);
      if (framing === 'chunked') socket.write('\r\n');
      return socket;
    }

    async function readAll(socket: Socket): Promise<string> {
      let text = '';
      for await (const chunk of socket) text += chunk;
      return text;
    }

    test.each([
      ['length', 1],
      ['length', 2],
      ['chunked', 1],
      ['chunked', 2],
    ] as const)(
      'a client that stops in the middle (%s, version %i) reads how far it came',
      async (framing, version) => {
        const part = tar.subarray(0, 300_000);
        const socket = await begin(framing, part, `version=${version}`);
        socket.end();
        const text = await readAll(socket);
        const declared = framing === 'length' ? ` of a declared ${tar.length}` : '';
        expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
        expect(text).toContain(
          `failed to build: [internal] load build context: the upload ended after ${part.length} bytes${declared}`,
        );
        expect(text).toContain('at hop: context');
        expect(text).toContain('hint: The client broke off, or a proxy between it and the daemon did.');
      },
    );

    test('a client whose connection is cut leaves nothing, and the log says what happened', async () => {
      const before = builds.daemon.log().length;
      const socket = await begin('length', tar.subarray(0, 300_000));
      await new Promise<void>((resolve) => socket.once('data', () => resolve()));
      socket.on('error', () => {});
      socket.destroy();
      const requests = () =>
        builds.daemon
          .log()
          .slice(before)
          .filter((line) => line.message === 'request' && line.path === '/build');
      await expect.poll(requests).toMatchObject([{ method: 'POST', path: '/build' }]);
      await expect.poll(() => builds.leftBehind()).toEqual([]);
    });

    test.each([
      ['plain', tar, /the archive ends/],
      ['gzip', gzipSync(tar), /gzip data is damaged or cut short/],
    ])('an archive (%s) that ends too early, in a request that is whole', async (_, body, says) => {
      const error = await builds.error(body.subarray(0, body.length / 2), 't=half:1');
      expect(error).toMatch(/^failed to build: \[internal\] load build context: /);
      expect(error).toMatch(says);
      expect(error).toContain('at hop: context');
      expect(error).toContain('hint: ');
    });

    test('a path that leads out of the context', async () => {
      const error = await builds.error(tarOf({ Dockerfile: 'FROM scratch\n', '../../x': 'x' }), 't=half:1');
      expect(error).toContain('../../x');
      expect(error).toContain('at hop: context');
    });

    test('bytes that are neither a tar nor a Dockerfile are a 400 in version 1, an error in version 2', async () => {
      const body = Buffer.from([1, 0, 2, 0]);
      const one = await builds.build(body, 'version=1');
      expect(one.answer.status).toBe(400);
      for (const message of [one.answer.json().message, await builds.error(body)]) {
        expect(message).toContain('[internal] load build context');
        expect(message).toContain('neither a tar archive nor a Dockerfile');
        expect(message).toContain('hint: Send a tar archive (plain, gzip, bzip2, xz or zstd)');
      }
    });
  });

  describe('file sync', () => {
    const query = (client: SessionClient) => `remote=client-session&t=half:1&session=${client.id}`;
    const folder = () => {
      const dir = mkdtempSync(join(builds.daemon.dir, 'context-'));
      writeFileSync(join(dir, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
      writeFileSync(join(dir, 'big'), Buffer.alloc(3 << 20, 'x'));
      return dir;
    };

    test('a client that dies in the middle of a file: who, what, and what to do; the next build gets it whole', async () => {
      const dir = folder();
      // The Dockerfile comes; of the context it lists `big`, and sends a part of it.
      const dying: SessionClient = new SessionClient({
        sharedKey: 'same',
        handlers: {
          '/moby.filesync.v1.FileSync/DiffCopy': async (call) => {
            const isContext = call.headers['dir-name'] === 'context';
            if (!isContext || call.headers.followpaths === '.dockerignore') {
              const followPaths = [isContext ? '.dockerignore' : 'Dockerfile'];
              return sendFolder(call, dir, { followPaths }, () => {});
            }
            const stat = create(StatSchema, { path: 'big', mode: 0o644, size: BigInt(3 << 20), modTime: 1n });
            await call.send(pack({ type: Type.PACKET_STAT, stat }));
            await call.send(pack({ type: Type.PACKET_STAT }));
            await call.send(pack({ type: Type.PACKET_DATA, ID: 0, data: Buffer.alloc(32 << 10, 'y') }));
            await sleep(50);
            dying.close();
          },
        },
      });
      await dying.connect(builds.daemon.socket);
      const error = await builds.error(undefined, query(dying));
      expect(error).toContain(
        'failed to build: [internal] load build context: asking the client for its build context',
      );
      expect(error).toContain(`its session ${dying.id} is gone`);
      expect(error).toContain('at hop: session');
      expect(error).toContain('hint: The client must keep its session open until the build is over.');

      const client = new SessionClient({ sharedKey: 'same', dirs: { dockerfile: dir, context: dir } });
      await client.connect(builds.daemon.socket);
      try {
        const { imageId } = await builds.ok(
          undefined,
          `remote=client-session&t=whole:1&session=${client.id}`,
        );
        const same = await builds.ok(
          tarOf({ Dockerfile: 'FROM scratch\nCOPY . /\n', big: Buffer.alloc(3 << 20, 'x') }),
        );
        expect(imageId).toBeDefined();
        expect(same.cached.join()).toContain('COPY . /');
      } finally {
        client.close();
      }
    });

    test('a session that is gone before the build asks', async () => {
      const client = new SessionClient({ dirs: { dockerfile: folder(), context: folder() } });
      await client.connect(builds.daemon.socket);
      client.close();
      const error = await builds.error(undefined, query(client));
      expect(error).toContain(`its session ${client.id} is not connected (any more)`);
      expect(error).toContain('at hop: session');
      expect(error).toContain('hint: The client must keep its session open');
    });

    test('a session that never comes is waited for, and then named', async () => {
      const error = await builds.error(undefined, 'remote=client-session&t=half:1&session=never-came');
      expect(error).toContain('its session never-came is not connected');
      expect(error).toContain('at hop: session');
      expect(error).toContain('hint: The client must keep its session open');
    });

    test('a client that serves no files, or not this folder', async () => {
      const other = new SessionClient({ secrets: {} });
      await other.connect(builds.daemon.socket);
      expect(await builds.error(undefined, query(other))).toMatch(
        /\[internal\] load build definition[\s\S]*no folder named "dockerfile"\nat hop: context\nhint: /,
      );
      other.close();
      const half = new SessionClient({ dirs: { dockerfile: folder() } });
      await half.connect(builds.daemon.socket);
      expect(await builds.error(undefined, query(half))).toMatch(
        /\[internal\] load [\s\S]*no folder named "context".*\nat hop: context\nhint: /,
      );
      half.close();
    });
  });

  describe('a remote URL', () => {
    let server: TestServer;
    const files = shellContext('RUN echo remote > /out\n');
    beforeAll(async () => {
      server = await startServer((request, response) => {
        const { pathname } = new URL(request.url ?? '/', 'http://x');
        const [, kind] = pathname.split('/');
        if (/^\d+$/.test(kind ?? '')) {
          response.statusCode = Number(kind);
          response.end('no');
        } else if (kind === 'cut') {
          response.setHeader('content-length', 1 << 20);
          response.write(Buffer.alloc(1000));
          setTimeout(() => response.destroy(), 20);
        } else if (kind === 'page') {
          response.setHeader('content-type', 'text/html');
          response.end('<!DOCTYPE html>\n<html><body>Sign in</body></html>\n');
        } else if (kind === 'noise')
          response.end(Buffer.from(Array.from({ length: 4000 }, (_, i) => (i * 7) % 256)));
        else if (kind === 'empty') response.end();
        else if (kind === 'broken.tgz') response.end(gzipSync(bytesOf(files) as Buffer).subarray(0, 5000));
        else if (kind === 'Dockerfile') response.end('FROM scratch\nLABEL from=url\n');
        else {
          const tar = bytesOf(files) as Buffer;
          response.setHeader('etag', '"1"');
          if (request.headers['if-none-match'] === '"1"') {
            response.statusCode = 304;
            response.end();
          } else response.end(kind === 'app.tgz' ? gzipSync(tar) : tar);
        }
      });
    });
    afterAll(() => server.stop());
    const remote = (path: string) =>
      `t=half:1&remote=${encodeURIComponent(`http://user:geheim@${server.host}/${path}`)}`;

    test.each([
      [401, 'The server wants credentials.'],
      [403, 'The server does not give this file to you.'],
      [404, 'Check the URL.'],
    ])('that answers %i', async (status, hint) => {
      for (const version of [1, 2]) {
        const { answer, error } = await builds.build(
          undefined,
          `version=${version}&${remote(`${status}/app.tar`)}`,
        );
        const message = error ?? String(answer.json().message);
        // Somebody else's refusal is no refusal of ours.
        expect([answer.status, version]).toEqual(version === 2 ? [200, 2] : [status === 404 ? 404 : 500, 1]);
        expect(message).toContain(
          `failed to build: [internal] load remote build context: http://${server.host}/${status}/app.tar: invalid response status ${status}`,
        );
        expect(message).toContain('at hop: http');
        expect(message).toContain(`hint: ${hint}`);
        expect(message).not.toContain('geheim');
      }
    });

    test('that is cut off', async () => {
      const error = await builds.error(undefined, remote('cut/app.tar'));
      expect(error).toContain('[internal] load remote build context');
      expect(error).toContain(`http://${server.host}/cut/app.tar`);
      expect(error).toContain('at hop: http');
      expect(error).toMatch(/hint: .*again/);
    });

    test('where nothing listens', async () => {
      const gone = await startServer(() => {});
      await gone.stop();
      const error = await builds.error(undefined, `t=half:1&remote=http://${gone.host}/app.tar`);
      expect(error).toContain(`http://${gone.host}/app.tar cannot be fetched: connect ECONNREFUSED`);
      expect(error).toContain('at hop: http');
      expect(error).toContain('hint: Check that a server listens there, and the port.');
    });

    test.each([
      ['page', 'a web page'],
      ['noise', 'neither a tar archive nor a Dockerfile'],
      ['empty', 'empty'],
    ])('that gives no context: %s', async (path, says) => {
      const error = await builds.error(undefined, remote(path));
      expect(error).toContain(`http://${server.host}/${path}`);
      expect(error).toContain(says);
      expect(error).toContain('at hop: context');
      expect(error).toMatch(/hint: .*tar archive/);
    });

    test('that gives a damaged archive', async () => {
      const error = await builds.error(undefined, remote('broken.tgz'));
      expect(error).toContain('[internal] unpack remote build context');
      expect(error).toMatch(/gzip data is damaged or cut short|the archive ends/);
      expect(error).toMatch(/at hop: (context|file)/);
    });

    test.each(['app.tar', 'app.tgz'])(
      'that gives %s: builds, and from cache the second time',
      async (path) => {
        const first = await builds.ok(undefined, `remote=http://${server.host}/${path}&t=remote:1`);
        const again = await builds.ok(undefined, `remote=http://${server.host}/${path}&t=remote:1`);
        expect(again.imageId).toBe(first.imageId);
        expect(again.cached.join('\n')).toContain('RUN echo remote > /out');
        // The same files, posted: the same step.
        expect((await builds.ok(files)).cached.join('\n')).toContain('RUN echo remote > /out');
      },
    );

    test('that gives a Dockerfile: it is the whole build', async () => {
      const { imageId } = await builds.ok(undefined, `remote=http://${server.host}/Dockerfile`);
      const image = (await builds.daemon.ask('GET', `/images/${imageId}/json`)).json<{
        Config: { Labels: object };
      }>();
      expect(image.Config.Labels).toEqual({ from: 'url' });
    });
  });

  describe('git', () => {
    let server: TestServer;
    let dir: string;
    beforeAll(async () => {
      dir = mkdtempSync(join(tmpdir(), 'drydock-hops-git-'));
      const repo = join(dir, 'app.git');
      mkdirSync(join(repo, 'sub'), { recursive: true });
      writeFileSync(join(repo, 'Dockerfile'), 'FROM scratch\nCOPY sub /\n');
      writeFileSync(join(repo, 'sub', 'f'), 'f');
      const git = (...args: string[]) =>
        execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
          cwd: repo,
          stdio: 'ignore',
          env: { PATH: process.env.PATH, HOME: dir, GIT_CONFIG_NOSYSTEM: '1' },
        });
      git('init', '-q', '-b', 'main');
      git('add', '.');
      git('commit', '-qm', 'one');
      server = await startServer((request, response) => {
        if (request.url?.startsWith('/private/')) {
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        } else answerGit(request, response, dir);
      });
    });
    afterAll(async () => {
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    });
    const remote = (path: string) => `t=half:1&remote=${encodeURIComponent(`http://${server.host}/${path}`)}`;

    test('a repository builds', async () => {
      await builds.ok(undefined, `remote=http://${server.host}/app.git`);
      await builds.ok(undefined, `remote=${encodeURIComponent(`http://${server.host}/app.git#main`)}`);
    });

    test.each([
      ['app.git#nope', /does not contain ref nope/, /git ls-remote/],
      [`app.git#${'1'.repeat(40)}`, /1{40}/, /branch, tag or commit/],
      ['app.git#12345', /does not contain ref 12345/, /all of its 40 digits/],
      ['app.git#main:nowhere', /has no folder "nowhere"/, /after the colon/],
      ['nothing.git', /not found/, /Check the URL/],
      ['private/app.git', /(Authentication failed|could not read Username)/, /GIT_AUTH_TOKEN/],
    ])('%s', async (path, says, hint) => {
      const error = await builds.error(undefined, remote(path));
      expect(error).toMatch(
        new RegExp(`^failed to build: \\[internal\\] load git source http://${server.host}/`),
      );
      expect(error).toMatch(says);
      expect(error).toContain('at hop: git');
      expect(error).toMatch(/hint: /);
      expect(error.slice(error.indexOf('hint: '))).toMatch(hint);
    });
  });
});
