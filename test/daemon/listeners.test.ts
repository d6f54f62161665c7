import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/daemon/address.ts';
import { startDaemon } from '../../src/daemon/daemon.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon({ group: '1234', hosts: ['tcp://127.0.0.1:0'], insecureTcp: true });
});
afterAll(() => daemon.stop());

const quiet = { writeLog: () => {} };

describe('addresses', () => {
  test('are unix, tcp or fd', () => {
    expect(parseAddress('/run/d.sock')).toEqual({ kind: 'unix', path: '/run/d.sock' });
    expect(parseAddress('unix:///run/d.sock')).toEqual({ kind: 'unix', path: '/run/d.sock' });
    expect(parseAddress('tcp://[::1]:99')).toEqual({ kind: 'tcp', host: '::1', port: 99 });
    expect(parseAddress('tcp://build.example')).toEqual({ kind: 'tcp', host: 'build.example', port: 2376 });
    expect(parseAddress('fd://')).toEqual({ kind: 'fd', which: '' });
  });
  test.each(['d.sock', 'unix://d.sock', 'http://x', 'tcp://x:99999', 'tcp://a b', `/${'x'.repeat(110)}`])(
    '%s is none',
    (text) => expect(() => parseAddress(text)).toThrow(/invalid address/),
  );
});

describe('a unix socket', () => {
  test('is for its group', () => {
    const stat = statSync(daemon.socket);
    expect(stat.mode & 0o777).toBe(0o660);
    expect(stat.gid).toBe(1234);
  });
  test('takes the place of one whose daemon is dead', async () => {
    const path = join(daemon.dir, 'stale.sock');
    const child = spawn(process.execPath, ['-e', `require('net').createServer().listen('${path}')`]);
    while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGKILL');
    await once(child, 'exit');
    const second = await startDaemon({ ...quiet, root: join(daemon.dir, 'stale'), hosts: [path] });
    expect((await daemon.ask('GET', '/_ping', { to: { socketPath: path } })).text).toBe('OK');
    await second.stop(true);
    expect(existsSync(path)).toBe(false);
  });
  test('takes no place of a living one, nor of another file', async () => {
    const root = join(daemon.dir, 'other');
    await expect(startDaemon({ ...quiet, root, hosts: [daemon.host] })).rejects.toThrow(
      /another process listens on/,
    );
    const file = join(daemon.dir, 'file');
    writeFileSync(file, 'precious');
    await expect(startDaemon({ ...quiet, root, hosts: [file] })).rejects.toThrow(/is no socket/);
    expect(lstatSync(file).size).toBe(8);
  });
  test('of an unknown group is refused with the remedy', async () => {
    await expect(
      startDaemon({ ...quiet, root: join(daemon.dir, 'group'), hosts: [], group: 'nosuchgroup' }),
    ).rejects.toMatchObject({ code: 'not-found', hint: expect.stringContaining('groupadd') });
  });
  test('is under the root when nothing else is said', async () => {
    const root = join(daemon.dir, 'default');
    const second = await startDaemon({ ...quiet, root, hosts: [] });
    expect(second.addresses).toEqual([`unix://${root}/daemon/drydock.sock`]);
    await second.stop(true);
  });
});

test('a second daemon on a root is refused and told the first one’s pid', async () => {
  await expect(
    startDaemon({ ...quiet, root: join(daemon.dir, 'root'), hosts: [join(daemon.dir, 'b.sock')] }),
  ).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(`(pid ${process.pid})`) });
  expect(existsSync(join(daemon.dir, 'b.sock'))).toBe(false);
});

describe('one socket', () => {
  test('speaks HTTP/1.1 to a client whose first bytes dribble in', async () => {
    const socket = connect(daemon.socket);
    for (const piece of ['P', 'OST', ' /auth HTTP/1.1\r\nHo', 'st: d\r\nConnection: close\r\n']) {
      socket.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    socket.write('Content-Length: 2\r\n\r\n{}');
    let text = '';
    for await (const part of socket) text += part;
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toContain('the request holds no credentials');
  });
  test('takes an HTTP/2 client for a BuildKit client', async () => {
    const session = connectHttp2('http://d', { createConnection: () => connect(daemon.socket) });
    const call = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    // An empty message.
    call.end(Buffer.alloc(5));
    const [headers] = await once(call, 'response');
    expect(headers[':status']).toBe(200);
    expect(headers['content-type']).toMatch(/^application\/grpc/);
    session.destroy();
  });
  test('answers what is no HTTP with an error, and lives on', async () => {
    const socket = connect(daemon.socket);
    socket.write('\x16\x03\x01\x02 this is TLS\r\n\r\n');
    let text = '';
    for await (const part of socket) text += part;
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect((await daemon.ask('GET', '/_ping')).status).toBe(200);
  });
});

describe('the insecure listener', () => {
  const to = () => ({ host: '127.0.0.1', port: Number(daemon.addresses[1]?.split(':').at(-1)) });
  test('serves local programs', async () => {
    const { port } = to();
    const answer = await daemon.ask('GET', '/images/json', {
      to: to(),
      headers: { host: `127.0.0.1:${port}` },
    });
    expect(answer.status).toBe(200);
  });
  test('but no web page, under whatever name it calls this machine', async () => {
    for (const headers of [{ host: 'localhost', origin: 'http://evil.example' }, { host: 'evil.example' }]) {
      const answer = await daemon.ask('GET', '/images/json', {
        to: to(),
        headers: headers as Record<string, string>,
      });
      expect(answer.status).toBe(403);
      expect(answer.text).toContain('requests from web pages are refused');
    }
  });
});

describe('socket activation', () => {
  test('serves the sockets it was given, and leaves their paths to their owner', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-fd-'));
    const path = join(dir, 'a.sock');
    const server = createServer().listen(path);
    await once(server, 'listening');
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const child: ChildProcess = spawn(
      process.execPath,
      [join(import.meta.dirname, 'child.ts'), join(dir, 'root'), 'fd://'],
      { stdio: ['ignore', 'pipe', 'inherit', fd], env: { ...process.env, LISTEN_FDS: '1' } },
    );
    try {
      // The service manager does not accept; closing here takes the path away, so it is kept by a second link.
      linkSync(path, `${path}.kept`);
      server.close();
      await once(server, 'close');
      renameSync(`${path}.kept`, path);
      const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data');
      expect(JSON.parse(String(line))).toEqual([`unix://${path}`]);
      const status = await new Promise((resolve, reject) => {
        const sent = request({ socketPath: path, path: '/images/json', agent: false });
        sent.on('response', (response) => resolve(response.statusCode)).on('error', reject);
        sent.end();
      });
      expect(status).toBe(200);
      child.kill('SIGTERM');
      await once(child, 'exit');
      expect(existsSync(path)).toBe(true);
    } finally {
      child.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    }
  });
  test('without sockets is refused', async () => {
    const root = join(daemon.dir, 'fd');
    mkdirSync(root);
    await expect(startDaemon({ ...quiet, root, hosts: ['fd://'] })).rejects.toMatchObject({
      code: 'not-found',
      hint: expect.stringContaining('socket activation'),
    });
  });
});
