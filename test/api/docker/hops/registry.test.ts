/**
 * A registry refuses, breaks or lies, on pull and on push: the client reads the step and its line, the registry's status
 * and own words, and what to do. Nothing half-fetched stays but what the next try goes on from.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ApiBuilds, builtOf, shellContext } from '../../../kit/api-builds.ts';
import { startServer, type TestServer } from '../../../kit/http-server.ts';
import { baseImage, imageOf, type TestImage, tarOf } from '../../../kit/images.ts';
import { onStores } from '../../../kit/stores.ts';

/** Statuses that are tried again, unless the registry wants longer than anybody waits. */
const patience = { 'retry-after': '3600' };

onStores('a registry', (store) => {
  let builds: ApiBuilds;
  let server: TestServer;
  const whole = baseImage();
  const other = imageOf([tarOf({ 'etc/other': 'x'.repeat(300_000) })]);

  /** A repository's name says what it does: `pull/403/app`, `push/500/app`, `lies/layer/app`. */
  function answer(request: IncomingMessage, response: ServerResponse): unknown {
    const { pathname } = new URL(request.url ?? '/', 'http://x');
    const [, , what, how, , kind, reference] = pathname.split('/');
    request.resume();
    if (what === undefined || what === '') return response.end('{}');
    if (what === 'pull') return refuse(Number(how), response);
    if (what === 'push') {
      if (request.method === 'GET' || request.method === 'HEAD') return refuse(404, response);
      if (how === 'digest' && request.method === 'POST') {
        return response.writeHead(202, { location: `${pathname}1` }).end();
      }
      return how === 'digest' ? refuse(400, response, 'DIGEST_INVALID') : refuse(Number(how), response);
    }
    serve(how ?? '', kind ?? '', reference ?? '', response);
  }

  function refuse(status: number, response: ServerResponse, code = 'SAID'): unknown {
    response.writeHead(status, { ...patience, 'content-type': 'application/json' });
    return response.end(JSON.stringify({ errors: [{ code, message: `the peer says ${status}` }] }));
  }

  function serve(how: string, kind: string, reference: string, response: ServerResponse): unknown {
    const image: TestImage = how === 'cut' ? other : whole;
    const digest = reference.startsWith('sha256:') ? reference : image.manifest.digest;
    const found = image.blobs.get(digest as `sha256:${string}`);
    if (found === undefined) return refuse(404, response);
    let bytes: Buffer = found;
    if (kind === 'manifests') {
      if (how === 'manifest') bytes = Buffer.concat([found, Buffer.from('\n')]);
      response.setHeader('content-type', image.manifest.mediaType);
      response.setHeader('docker-content-digest', digest);
    } else if (how === 'layer' && image.layers.some((layer) => layer.digest === digest)) {
      bytes = Buffer.from(found);
      bytes[found.length - 9] = (bytes[found.length - 9] ?? 0) ^ 1;
    } else if (how === 'cut' && image.layers.some((layer) => layer.digest === digest)) {
      response.setHeader('content-length', found.length);
      response.write(found.subarray(0, 100));
      return setTimeout(() => response.destroy(), 10);
    }
    response.setHeader('content-length', bytes.length);
    return response.end(bytes);
  }

  beforeAll(async () => {
    server = await startServer(answer);
    builds = await ApiBuilds.open(store);
  });
  afterAll(async () => {
    await builds.stop();
    await server.stop();
  });
  afterEach(async () => {
    expect(await builds.tags()).not.toContain('half:1');
    expect((await builds.leftBehind()).filter((what) => !what.includes('pull-'))).toEqual([]);
  });

  /** The messages of both builder versions. */
  async function errorsOf(from: string, step = 'LABEL a=b', query = ''): Promise<string[]> {
    const both = [1, 2].map(async (version) => {
      const { answer: said, error } = await builds.build(
        `FROM ${from}\n${step}\n`,
        `version=${version}&t=half:1&${query}`,
      );
      return error ?? String(said.json().message);
    });
    return Promise.all(both);
  }

  describe('on pull', () => {
    test.each([
      [401, 'No credentials were given. Log in with `docker login HOST`'],
      [403, 'Check that the account may pull from HOST/pull/403/app'],
      [404, 'Check the image name'],
      [429, 'The registry limits how often it is asked'],
      [500, 'The registry has trouble of its own'],
    ])('answers %i', async (status, hint) => {
      // A registry that says that it is asked too often is not asked for its words.
      const words = status === 429 ? '' : ` (SAID: the peer says ${status})`;
      for (const error of await errorsOf(`${server.host}/pull/${status}/app:1`)) {
        expect(error).toMatch(/^failed to build: \[internal\] load metadata for /);
        expect(error).toContain(
          `the registry ${server.host} answered ${status}${words} for ${server.host}/pull/${status}/app`,
        );
        expect(error).toContain('(Dockerfile:1)');
        expect(error).toContain('at hop: registry');
        expect(error).toContain(`hint: ${hint.replace('HOST', server.host)}`);
      }
    });

    test('takes no wrong password', async () => {
      const config = { [server.host]: { username: 'u', password: 'wrong' } };
      const headers = { 'x-registry-config': Buffer.from(JSON.stringify(config)).toString('base64') };
      const error = await builds.error(`FROM ${server.host}/pull/401/app:1\n`, 't=half:1', headers);
      expect(error).toContain(
        'hint: The registry did not take the credentials that the request sent (X-Registry-Config)',
      );
      expect(error).not.toContain('wrong');
    });

    test('cannot be reached', async () => {
      for (const error of await errorsOf('127.0.0.1:1/app:1')) {
        expect(error).toContain(
          'cannot reach the registry 127.0.0.1:1 for 127.0.0.1:1/app: connection refused',
        );
        expect(error).toContain('(Dockerfile:1)');
        expect(error).toContain('hint: Check that a registry is listening at 127.0.0.1:1.');
      }
    });

    test('sends a manifest that has another digest than it was asked for', async () => {
      const from = `${server.host}/lies/manifest/app@${whole.manifest.digest}`;
      for (const error of await errorsOf(from)) {
        expect(error).toContain(whole.manifest.digest);
        expect(error).toMatch(/digest/);
        expect(error).toContain('(Dockerfile:1)');
        expect(error).toContain('at hop: registry');
        expect(error).toMatch(/hint: .*(registry|proxy)/);
      }
    });

    test('sends a layer whose bytes are others: it is not kept', async () => {
      for (const error of await errorsOf(`${server.host}/lies/layer/app:1`, 'RUN echo never')) {
        expect(error).toContain(whole.layers[0]?.digest);
        // The step that needs the layer, or the FROM.
        expect(error).toMatch(/\(Dockerfile:[12]\)/);
        expect(error).toContain('at hop: registry');
        expect(error).toContain('hint: The registry or a proxy on the way changed it');
      }
      expect(
        await builds.daemon.engine.store.content.info(whole.layers[0]?.digest as `sha256:${string}`),
      ).toBe(undefined);
      expect(await builds.leftBehind()).toEqual([]);
    });

    test('cuts a layer off each time: how far it came', async () => {
      const [layer] = other.layers;
      const error = await builds.error(`FROM ${server.host}/lies/cut/app:1\nRUN echo never\n`, 't=half:1');
      expect(error).toContain(`pulling ${layer?.digest}`);
      expect(error).toMatch(
        new RegExp(`${server.host}.*(ended the blob after 100 of|broke off|socket hang up|reset|aborted)`),
      );
      expect(error).toMatch(/\(Dockerfile:[12]\)/);
      expect(error).toContain('at hop: registry');
      expect(error).toMatch(/hint: .*again/);
    });
  });

  describe('on push', () => {
    beforeAll(async () => {
      const names = ['401', '403', '500', '429', 'digest'].map((how) => `t=${server.host}/push/${how}/app:1`);
      await builds.ok(
        { Dockerfile: 'FROM scratch\nCOPY f /\n', f: 'f' },
        `${names.join('&')}&t=127.0.0.1:1/app:1`,
      );
    });
    const push = async (name: string) =>
      builtOf(
        await builds.daemon.ask('POST', `/images/${name}/push?tag=1`, {
          headers: { 'x-registry-auth': 'e30=' },
        }),
      );
    const pushedByBuild = (name: string) =>
      builds.build(
        { Dockerfile: 'FROM scratch\nCOPY f /\n', f: 'f' },
        `outputs=${encodeURIComponent(JSON.stringify([{ Type: 'image', Attrs: { name: `${name}:1`, push: 'true' } }]))}`,
      );

    test.each([
      ['401', '401 (SAID', 'Log in with `docker login'],
      ['403', '403 (SAID', 'Check that the account may push to'],
      ['429', '429 (SAID', 'The registry limits how often it is asked'],
      ['500', '500 (SAID', 'The registry has trouble of its own'],
      ['digest', '400 (DIGEST_INVALID', 'drydock doctor --verify'],
    ])('answers %s', async (how, says, hint) => {
      const name = `${server.host}/push/${how}/app`;
      const { answer: told, error } = await push(name);
      const message = error ?? String(told.json().message);
      expect(message).toContain(`the registry ${server.host} answered ${says}`);
      expect(message).toContain(`for ${name}`);
      expect(message).toMatch(/push/);
      expect(message).toContain(hint);
      // The same from a build that pushes its result.
      const built = (await pushedByBuild(name)).error;
      expect(built).toMatch(/^failed to build: exporting to image: /);
      expect(built).toContain(`the registry ${server.host} answered ${says}`);
      expect(built).toContain('at hop: registry');
      expect(built).toContain('hint: ');
    });

    test('cannot be reached', async () => {
      const { answer: told, error } = await push('127.0.0.1:1/app');
      expect(error ?? told.json().message).toContain('cannot reach the registry 127.0.0.1:1');
      const built = (await pushedByBuild('127.0.0.1:1/app')).error;
      expect(built).toContain(
        'cannot reach the registry 127.0.0.1:1 for 127.0.0.1:1/app: connection refused',
      );
      expect(built).toContain('at hop: registry');
    });
  });

  test('version 1 shows the step before the error', async () => {
    const { lines, error } = await builds.build('FROM 127.0.0.1:1/other:1\nLABEL a=b\n', 'version=1');
    expect(lines[0]?.stream).toBe('Step 1/2 : FROM 127.0.0.1:1/other:1\n');
    expect(error).toContain('connection refused');
  });

  test('POST /images/create says the same before a stream starts', async () => {
    for (const [status, ours] of [
      [401, 500],
      [403, 500],
      [404, 404],
      [429, 503],
      [500, 503],
    ]) {
      const { status: got, text } = await builds.daemon.ask(
        'POST',
        `/images/create?fromImage=${server.host}/pull/${status}/app&tag=1`,
      );
      expect(got).toBe(ours);
      expect(text).toContain(`the registry ${server.host} answered ${status}`);
    }
  });

  test('a build that needs no registry does not mind', async () => {
    await builds.ok(shellContext('RUN true'));
  });
});
