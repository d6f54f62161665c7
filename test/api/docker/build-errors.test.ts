/** Each hop of a build fails in turn: the client reads the step, the hop, the cause and what to do. No image is left. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';
import { onStores } from '../../kit/stores.ts';

onStores('a build that fails over the API', (store) => {
  let daemon: TestDaemon;
  let server: Server;
  /** Answers each request with the status in its path: `/403/x.tar`; a registry's with the status in its name. */
  let address: string;

  beforeAll(async () => {
    server = createServer((request, response) => {
      const url = request.url ?? '';
      const status = Number(/\/(\d{3})(?:\/|$)/.exec(url)?.[1] ?? 200);
      response.statusCode = url === '/v2/' ? 200 : status;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ errors: [{ code: 'SAID', message: `the peer says ${status}` }] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    daemon = await startTestDaemon(store.options());
  });
  afterAll(async () => {
    server.close();
    await daemon.stop();
  });
  afterEach(async () => {
    const images = (await daemon.ask('GET', '/images/json')).json<{ RepoTags: string[] }[]>();
    expect(images.flatMap(({ RepoTags }) => RepoTags)).not.toContain('half:1');
    const loose = (await daemon.engine.store.leases.list()).filter(({ id }) => id.startsWith('build-'));
    expect(loose).toEqual([]);
  });

  const errorOf = async (query: string, dockerfile = 'FROM scratch\nLABEL a=b\n', version = 2) => {
    const body = tarOf({ Dockerfile: dockerfile });
    const path = `/build?version=${version}&t=half:1&${query}`;
    const answer = await daemon.ask('POST', path, { body, headers: { 'content-type': 'application/x-tar' } });
    if (answer.status !== 200) return String(answer.json().message);
    return String(answer.lines<{ error?: string }>().at(-1)?.error);
  };

  test.each([403, 404])('the remote URL answers %i', async (status) => {
    const error = await errorOf(`remote=http://${address}/${status}/context.tar`);
    expect(error).toContain('load remote build context');
    expect(error).toContain(`http://${address}/${status}/context.tar`);
    expect(error).toContain(String(status));
    expect(error).toContain('at hop: http');
  });

  test('the git repository is not there', async () => {
    const error = await errorOf(`remote=http://${address}/404/nothing.git`);
    expect(error).toContain('load git source');
    expect(error).toContain('at hop: git');
  });

  test.each([
    [403, 'Check that the account may pull'],
    [404, 'Check the image name'],
  ])('the registry answers %i', async (status, hint) => {
    for (const version of [1, 2]) {
      const error = await errorOf('', `FROM ${address}/team/${status}/app:1\nLABEL a=b\n`, version);
      expect(error).toContain(`the registry ${address} answered ${status} (SAID: the peer says ${status})`);
      expect(error).toContain('Dockerfile:1');
      expect(error).toContain('at hop: registry');
      expect(error).toContain(hint);
    }
  });

  test('the registry cannot be reached', async () => {
    const error = await errorOf('', 'FROM 127.0.0.1:1/app:1\n');
    expect(error).toContain('cannot reach the registry 127.0.0.1:1 for 127.0.0.1:1/app: connection refused');
    expect(error).toContain('hint: Check that a registry is listening at 127.0.0.1:1.');
  });

  test('version 1 shows the step before the error', async () => {
    const answer = await daemon.ask('POST', '/build', {
      body: tarOf({ Dockerfile: 'FROM 127.0.0.1:1/app:1\nLABEL a=b\n' }),
    });
    const [first, last] = answer.lines<{ stream?: string; error?: string }>();
    expect(first?.stream).toBe('Step 1/2 : FROM 127.0.0.1:1/app:1\n');
    expect(last?.error).toContain('connection refused');
  });

  test('the files are to come by a session that is not there', async () => {
    const error = await errorOf('remote=client-session&session=never-came');
    expect(error).toContain('its session never-came is not connected');
    expect(error).toContain('at hop: session');
    expect(error).toContain('hint: The client must keep its session open');
  }, 15_000);

  test('a file that COPY wants is not in the context', async () => {
    const error = await errorOf('', 'FROM scratch\nCOPY nothing.txt /\n');
    expect(error).toMatch(/COPY nothing\.txt \/: .*nothing\.txt.*not found.*\(Dockerfile:2\)/);
  });

  test('a Dockerfile that does not parse names its line', async () => {
    for (const version of [1, 2]) {
      const error = await errorOf('', 'FROM scratch\nRUM echo\n', version);
      expect(error).toContain('unknown instruction: RUM');
      expect(error).toContain('Dockerfile:2');
    }
  });

  test('the body is neither a tar nor a Dockerfile', async () => {
    const answer = await daemon.ask('POST', '/build', { body: Buffer.from([1, 0, 2, 0]) });
    expect(answer.status).toBe(400);
    expect(answer.json().message).toContain('neither a tar archive nor a Dockerfile');
    expect(answer.json().message).toContain('at hop: context');
  });
});
