/**
 * What a build's request may hold and how it is treated: bodies of each compression, credentials in a header, parameters
 * that have no effect or are refused, a reader who is slow, a session that is idle, a policy that changes meanwhile.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiBuilds, bytesOf, shellContext } from '../../kit/api-builds.ts';
import { startServer } from '../../kit/http-server.ts';
import { pushBase, tarOf } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { SessionClient } from '../../kit/session/session-client.ts';
import { onLocal, onStores } from '../../kit/stores.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes that this process holds on to. */
function inUse(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

onLocal('a build’s request', (store) => {
  let builds: ApiBuilds;
  beforeAll(async () => {
    builds = await ApiBuilds.open(store);
  });
  afterAll(async () => {
    expect(await builds.leftBehind()).toEqual([]);
    await builds.stop();
  });

  const program = (name: string) => (input: Buffer) => execFileSync(name, ['-c'], { input });
  test('a file of a web server must have its checksum, by any algorithm; otherwise there is no image', async () => {
    const server = await startServer((_, response) => response.end('a file'));
    const sum = (text: string) => `sha384:${createHash('sha384').update(text).digest('hex')}`;
    const add = (of: string) => `FROM scratch\nADD --checksum=${sum(of)} http://${server.host}/f /f\n`;
    await builds.ok(add('a file'), 't=summed:1');
    const { error } = await builds.build(add('other'), 't=mismatched:1');
    expect(error).toContain(`digest mismatch ${sum('a file')}: ${sum('other')}`);
    await server.stop();
    const tags = await builds.tags();
    expect(tags).toContain('summed:1');
    expect(tags).not.toContain('mismatched:1');
  });

  test.each([
    ['foobar', '"foobar": unknown operating system or architecture: invalid argument'],
    ['linux/amd64,nintendo64', '"nintendo64": unknown operating system or architecture: invalid argument'],
    ['linux/', '"" is an invalid component of "linux/"'],
  ])('a platform that is none is refused before anything else: %s', async (platform, message) => {
    const asked = encodeURIComponent(platform);
    const one = encodeURIComponent(platform.split(',').at(-1) as string);
    const requests = [
      `/build?version=1&platform=${asked}`,
      `/build?version=2&platform=${asked}`,
      `/images/create?fromImage=localhost:1/none&platform=${one}`,
      `/images/create?fromImage=localhost:1/none&tag=1&platform=${one}`,
      `/images/create?fromSrc=-&platform=${one}`,
    ];
    for (const path of requests) {
      const answer = await builds.daemon.ask('POST', path, { body: tarOf({ Dockerfile: 'FROM scratch\n' }) });
      expect([path, answer.status]).toEqual([path, 400]);
      expect(answer.json<{ message: string }>().message).toContain(message);
    }
  });

  test.each(['1', '2'])('a limit that there is not is a plain mistake, in version %s', async (version) => {
    const limits = (Name: string, Soft: number) =>
      encodeURIComponent(JSON.stringify([{ Name, Soft, Hard: 1 }]));
    for (const [name, soft, message] of [
      ['files', 1, 'invalid ulimit type: files'],
      ['nofile', 2, 'ulimit soft limit must be less than or equal to hard limit: 2 > 1'],
    ] as const) {
      const query = `/build?version=${version}&ulimits=${limits(name, soft)}`;
      const answer = await builds.daemon.ask('POST', query, {
        body: tarOf({ Dockerfile: 'FROM scratch\n' }),
      });
      expect(answer.status).toBe(400);
      expect(answer.json<{ message: string }>().message).toContain(message);
    }
  });

  test('what fails before the first step, and is not the client’s mistake, is in the log', async () => {
    const answer = await builds.daemon.ask('POST', '/build?remote=http://127.0.0.1:1/context.tar', {});
    expect(answer.status).toBeGreaterThanOrEqual(500);
    const line = builds.daemon.log().findLast(({ message }) => message === 'build failed');
    expect(line).toMatchObject({ hop: 'http', error: expect.stringContaining('127.0.0.1:1') });
    await builds.daemon.ask('POST', '/build?platform=foobar', {
      body: tarOf({ Dockerfile: 'FROM scratch\n' }),
    });
    expect(builds.daemon.log().findLast(({ message }) => message === 'build failed')).toEqual(line);
  });

  test('what is imported is for this system', async () => {
    const body = tarOf({ file: 'x' });
    const answer = await builds.daemon.ask('POST', '/images/create?fromSrc=-&platform=macos', { body });
    expect(answer.status).toBe(400);
    expect(answer.json<{ message: string }>().message).toContain('operating system is not supported');
  });

  test.each([
    ['gzip', gzipSync],
    ['bzip2', program('bzip2')],
    ['xz', program('xz')],
    ['zstd', zstdCompressSync],
  ])('a body compressed with %s is the same context', async (_, compress) => {
    const files = shellContext('RUN echo compressed > /f');
    const plain = await builds.ok(files);
    const packed = await builds.ok(Buffer.from(compress(bytesOf(files) as Buffer)));
    expect(packed.imageId).toBe(plain.imageId);
    expect(packed.cached.join()).toContain('RUN echo compressed');
  });

  test.each([
    ['gzip', gzipSync],
    ['bzip2', program('bzip2')],
    ['xz', program('xz')],
    ['zstd', zstdCompressSync],
  ])('one of %s that is cut short says so', async (kind, compress) => {
    const whole = compress(bytesOf(shellContext('RUN true')) as Buffer);
    const error = await builds.error(Buffer.from(whole).subarray(0, whole.length - 5000));
    expect(error).toMatch(new RegExp(`the ${kind} data is damaged or cut short|the archive ends`));
    expect(error).toContain('at hop: context');
  });

  describe('credentials in X-Registry-Config', () => {
    const user = { username: 'ann', password: 'pa+ss/wörd?' };
    let registry: TestRegistry;
    let base: string;
    beforeAll(async () => {
      registry = await startRegistry({ basic: user });
      base = await pushBase(registry.host, 'private/base:1', user);
    });
    afterAll(() => registry.stop());
    const header = (encoding: 'base64' | 'base64url', auth: object) => ({
      'x-registry-config': Buffer.from(JSON.stringify({ [registry.host]: auth })).toString(encoding),
    });

    test('are used for FROM, in either alphabet of base64; without them the registry’s 401 is told', async () => {
      const refused = await builds.error(`FROM ${base}\nLABEL x=0\n`);
      expect(refused).toContain(`the registry ${registry.host} answered 401`);
      expect(refused).toContain(
        `hint: No credentials were given. Log in with \`docker login ${registry.host}\``,
      );
      const wrong = await builds.error(
        `FROM ${base}\nLABEL x=0\n`,
        '',
        header('base64', { ...user, password: 'no' }),
      );
      expect(wrong).toContain(
        'hint: The registry did not take the credentials that the request sent (X-Registry-Config)',
      );
      for (const [i, encoding] of (['base64', 'base64url'] as const).entries()) {
        await builds.ok(`FROM ${base}\nLABEL x=${i}\n`, 'pull=1', header(encoding, user));
      }
      const auth = Buffer.from(`${user.username}:${user.password}`).toString('base64');
      await builds.ok(`FROM ${base}\nLABEL x=2\n`, 'pull=1', header('base64', { auth }));
    });

    test('are used for both builders and for layers fetched later', async () => {
      const { error } = await builds.build(
        `FROM ${base}\nRUN echo layers\n`,
        'version=1&nocache=1',
        header('base64', user),
      );
      expect(error).toBeUndefined();
    });

    test('that cannot be read are a 400, and nothing is built', async () => {
      const { answer } = await builds.build(`FROM ${base}\n`, 'version=1', {
        'x-registry-config': Buffer.from('no JSON').toString('base64'),
      });
      expect(answer.status).toBe(400);
      expect(answer.json().message).toMatch(/X-Registry-Config/i);
    });
  });

  describe('parameters', () => {
    test('securityopt is refused by name, as dockerd does on Linux; one that is empty is none', async () => {
      for (const value of ['seccomp=unconfined', '["seccomp=unconfined"]']) {
        const query = `securityopt=${encodeURIComponent(value)}&securityopt=no-new-privileges`;
        const { answer } = await builds.build('FROM scratch\n', `version=1&${query}`);
        expect([answer.status, answer.text]).toEqual([
          400,
          expect.stringMatching(
            /security options are not supported on linux: .*unconfined.*no-new-privileges/,
          ),
        ]);
      }
      for (const value of ['', 'null', '[]']) {
        await builds.ok('FROM scratch\nLABEL a=b\n', `version=1&securityopt=${value}`);
      }
    });
  });

  test.each([1, 2])(
    'a client that does not read costs no memory; the build goes on (version %i)',
    async (version) => {
      const count = 10;
      const said = 6_000_000;
      const step = (i: number) => `RUN yes "output of step ${i}, version ${version}" | head -c ${said}`;
      const steps = Array.from({ length: count }, (_, i) => step(i)).join('\n');
      const body = bytesOf(shellContext(steps, {}, ['yes', 'head'])) as Buffer;
      // What is loaded once is loaded by a first build.
      await builds.ok(shellContext('RUN true', {}, ['yes', 'head']));
      const before = inUse();
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        const sent = request(
          {
            socketPath: builds.daemon.socket,
            method: 'POST',
            path: `/build?version=${version}`,
            agent: false,
          },
          resolve,
        );
        sent.on('error', reject);
        sent.end(body);
      });
      // All steps run, though nobody reads a word of the 60 MB that they say.
      const { cache } = builds.daemon.engine;
      const done = () => cache.list().some(({ description }) => description.includes(step(count - 1)));
      await expect.poll(done).toBe(true);
      // What is held stays held; what has been let go may take a few turns to be gone.
      await expect.poll(() => inUse() - before).toBeLessThan(12 << 20);
      const chunks: Buffer[] = [];
      for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString('latin1');
      expect(text).toMatch(version === 1 ? /Successfully built/ : /moby\.image\.id/);
      expect(text).not.toContain('output left out');
      // Version 2 has it in base64.
      expect(text.length).toBeGreaterThan(count * said * (version === 1 ? 1 : 4 / 3));
    },
  );

  describe('a session that is idle', () => {
    test('does not matter to a build that asks nothing of it', async () => {
      const client = new SessionClient({});
      await client.connect(builds.daemon.socket);
      await builds.ok('FROM scratch\nLABEL idle=1\n', `session=${client.id}`);
      client.close();
    });

    test('and one that never says a word is given up when something is asked of it', async () => {
      const silent = connect(builds.daemon.socket);
      silent.on('error', () => {});
      silent.write(
        'POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: silent\r\n\r\n',
      );
      await new Promise((resolve) => silent.once('data', resolve));
      await builds.ok('FROM scratch\nLABEL idle=2\n', 'session=silent');
      const error = await builds.error(undefined, 'remote=client-session&session=silent');
      expect(error).toMatch(/asking the client for .*silent/);
      expect(error).toContain('at hop: session');
      expect(error).toContain('hint: ');
      silent.destroy();
    });
  });
});

onStores('archives', (store) => {
  let builds: ApiBuilds;
  beforeAll(async () => {
    builds = await ApiBuilds.open(store);
  });
  afterAll(async () => {
    expect(await builds.leftBehind()).toEqual([]);
    await builds.stop();
  });

  test('a bad archive to import is a 400, one to load an error of the stream, that says what is wrong, and nothing of it stays', async () => {
    const noise = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 31) % 251));
    for (const [path, body, says] of [
      ['/images/load', noise, /tar archive/],
      ['/images/load', tarOf({ 'some/file': 'x' }), /no image archive/],
      [
        '/images/load',
        tarOf({ 'manifest.json': '[{"Config":"gone.json","Layers":[]}]' }),
        /gone\.json.* is missing/,
      ],
      ['/images/load', tarOf({ 'manifest.json': '{' }), /manifest.json is not JSON/],
      [
        '/images/load',
        gzipSync(tarOf({ f: Buffer.alloc(100_000, 'abc') })).subarray(0, 150),
        /gzip data is damaged or cut short/,
      ],
      ['/images/load', Buffer.alloc(0), /./],
      ['/images/create?fromSrc=-&repo=bad', noise, /tar archive/],
      [
        '/images/create?fromSrc=-&repo=bad',
        tarOf({ f: Buffer.alloc(100_000) }).subarray(0, 50_000),
        /the archive ends/,
      ],
    ] as const) {
      const { status, text } = await builds.daemon.ask('POST', path, { body });
      // docker's clients look for what is wrong with an archive in the stream.
      expect([status, path]).toEqual([path === '/images/load' ? 200 : 400, path]);
      expect(text).toMatch(path === '/images/load' ? /"errorDetail":\{"message":/ : /"message":/);
      expect(text).toMatch(says);
    }
    expect(await builds.tags()).not.toContain('bad:latest');
  });
});

onLocal('a policy', (store) => {
  let builds: ApiBuilds;
  let policyFile: string;
  const everything = { rules: [{ match: { uid: 0 }, scopes: ['*'] }] };
  const set = (policy: object) => {
    writeFileSync(policyFile, JSON.stringify(policy), { mode: 0o640 });
    builds?.daemon.reload();
  };
  beforeAll(async () => {
    policyFile = join(
      execFileSync('mktemp', ['-d', '/tmp/drydock-policy-XXXXXX'], { encoding: 'utf8' }).trim(),
      'policy.json',
    );
    set(everything);
    builds = await ApiBuilds.open(store, { policyFile });
  });
  afterAll(async () => {
    await builds.stop();
    execFileSync('rm', ['-r', join(policyFile, '..')]);
  });

  test('that changes while a build runs: it goes on with its own authority, the next request is refused', async () => {
    const asked = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const server = await startServer(async (_, response) => {
      asked.resolve();
      await go.promise;
      response.end('late');
    });
    const client = new SessionClient({ secrets: { key: 'geheim' } });
    await client.connect(builds.daemon.socket);
    const building = builds.ok(
      shellContext(
        `ADD http://${server.host}/f /f\nRUN --mount=type=secret,id=key cat /run/secrets/key /f`,
        {},
        ['cat'],
      ),
      `t=went-on:1&session=${client.id}`,
    );
    await asked.promise;
    set({ rules: [] });
    expect((await builds.build('FROM scratch\n')).answer.status).toBe(403);
    expect((await builds.daemon.ask('POST', '/build/cancel?id=x')).status).toBe(403);
    go.resolve();
    const { log, imageId } = await building;
    expect(log).toContain('geheimlate');
    client.close();
    await server.stop();
    set(everything);
    expect(await builds.tags()).toContain('went-on:1');
    expect((await builds.daemon.ask('GET', '/images/went-on:1/json')).json()).toMatchObject({ Id: imageId });
  });

  test('that denies a build does so before a byte of the upload is read, and says who, what and which line', async () => {
    set({ rules: [{ match: { uid: 0 }, scopes: ['images:read'] }] });
    const ask = async (head: string) => {
      const socket = connect(builds.daemon.socket);
      socket.write(
        `POST /v1.43/build?version=2 HTTP/1.1\r\nHost: d\r\nContent-Length: 1000000000\r\n${head}\r\n`,
      );
      let text = '';
      socket.on('data', (chunk) => (text += chunk));
      await expect.poll(() => text).toMatch(/\}\n$/);
      socket.destroy();
      return text;
    };
    // Not a byte of the body has been sent.
    for (const head of ['', 'Expect: 100-continue\r\n']) {
      const text = await ask(head);
      expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
      expect(text).toMatch(/\r\ncontent-type: application\/json\r\n/i);
      expect(text).toMatch(/\r\nApi-Version: \d/i);
      const { message, ...rest } = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as {
        message: string;
      };
      expect(rest).toEqual({});
      expect(message).toBe(
        `user root (uid 0) may not POST /build: it lacks the scope "build" (at hop: host). Add to "rules" in ${policyFile}: ` +
          '{"match":{"uid":0},"scopes":["build"]}',
      );
    }
    // A client that sends all the same gets to the answer too.
    const { answer } = await builds.build({ Dockerfile: 'FROM scratch\n', big: Buffer.alloc(20 << 20) });
    expect(answer.status).toBe(403);
    set(everything);
  });

  test('that lets a build in tells one who waits to go on with the body', async () => {
    const body = tarOf({ Dockerfile: 'FROM scratch\nLABEL a=b\n' });
    const answer = await new Promise<string>((resolve, reject) => {
      const sent = request({
        socketPath: builds.daemon.socket,
        method: 'POST',
        path: '/build?version=2',
        agent: false,
        headers: { expect: '100-continue', 'content-length': body.length },
      });
      sent.on('continue', () => sent.end(body));
      sent.on('error', reject);
      sent.on('response', async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve(text);
      });
      sent.flushHeaders();
    });
    expect(answer).toContain('moby.image.id');
  });
});
