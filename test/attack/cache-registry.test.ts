/**
 * Caches of a registry, or of a client's folder, that are made to hold us up: configs of many megabytes, endless or
 * slow bodies, circles, wrong digests, bombs. The build says that it cannot read the cache, and goes on without it.
 */
import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { marshal, mkfile, scratch } from '../../src/llb/llb.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { cacheConfigType } from '../../src/remote-cache/format/config.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';
import { solveRaw } from '../kit/raw-grpc.ts';
import { mostHold, usualHold } from '../kit/thread-time.ts';

let daemon: TestDaemon;
let registry: TestServer;
/** What the registry answers, by the end of the path. */
const answers = new Map<string, Buffer | ((response: ServerResponse) => void)>();

beforeAll(async () => {
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
  registry = await startServer((request, response) => {
    const url = request.url ?? '';
    if (url === '/v2/') return response.end('{}');
    const answer = answers.get(url.replace(/^.*\//, ''));
    response.statusCode = answer === undefined ? 404 : 200;
    if (url.includes('/manifests/')) response.setHeader('content-type', indexType);
    if (typeof answer === 'function') answer(response);
    else response.end(answer ?? '{}');
  });
});
afterAll(async () => {
  await daemon.stop();
  await registry.stop();
});

const indexType = 'application/vnd.oci.image.index.v1+json';
const packed = gzipSync(Buffer.alloc(100 << 20, ' '));

/** Has the registry give a cache with this config, under a name; `said`: what the index says of the config. */
function serve(tag: string, config: string, said: object = {}): void {
  const bytes = Buffer.from(config);
  const digest = digestOf(bytes);
  answers.set(digest, bytes);
  const manifests = [{ mediaType: cacheConfigType, digest, size: bytes.length, ...said }];
  answers.set(tag, Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests })));
}

/** Builds something with the cache named; gives how long the thread was held and what the build ended with. */
async function build(tag: string): Promise<{ hold: number; said: string }> {
  let said = '';
  const hold = await usualHold(async (attempt) => {
    said = await solveRaw(daemon.socket, {
      Definition: marshal(scratch().file(mkfile('/a', `${tag} ${attempt} ${Math.random()}`))),
      Cache: { Imports: [{ Type: 'registry', Attrs: { ref: `${registry.host}/cache:${tag}` } }] },
    });
  });
  return { hold, said };
}

const many = (text: string, bytes = 16_000_000) =>
  text.repeat(Math.floor(bytes / text.length)).replace(/,$/, '');
const record = (i: number, more = '') => `{"digest":"${digestOf(`${i}`)}"${more}}`;
const layer = (parent: number) => `{"blob":"${digestOf(`${parent}`)}","parent":${parent}}`;

test.each<[string, () => string]>([
  ['lists', () => `{"records":[${many('[],')}]}`],
  ['records that are none', () => `{"records":[${many('{},')}]}`],
  ['lists in lists', () => `{"records":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`],
  ['names', () => `{"x":{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":0`).join()}}}`],
  ['records of one key', () => `{"records":[${many(`${record(1)},`, 15_000_000)}]}`],
  [
    'records on each other',
    () =>
      `{"records":[${Array.from({ length: 100_000 }, (_, i) => record(i, i === 0 ? '' : `,"inputs":[[{"link":${i - 1}}]]`)).join()}]}`,
  ],
  [
    'links of one record',
    () => `{"records":[${record(0)},${record(1, `,"inputs":[[${many('{"link":0},', 15_000_000)}]]`)}]}`,
  ],
  [
    'layers on each other, which all results name',
    () =>
      `{"layers":[${Array.from({ length: 999 }, (_, i) => layer(i - 1)).join()}],"records":[${Array.from({ length: 50_000 }, (_, i) => record(i, ',"layers":[{"layer":998}]')).join()}]}`,
  ],
  [
    'layers in a circle',
    () => `{"layers":[${layer(1)},${layer(0)}],"records":[${record(0, ',"layers":[{"layer":1}]')}]}`,
  ],
  ['records in a circle', () => `{"records":[${record(0, ',"inputs":[[{"link":0}]]')}]}`],
])('a config of %s', async (what, config) => {
  serve('config', config());
  const { hold, said } = await build('config');
  expect(said, what).toBe('0 ');
  expect(hold).toBeLessThan(mostHold);
});

test.each<[string, (response: ServerResponse) => void]>([
  [
    'an endless manifest',
    (response) => {
      const more = () => {
        while (response.write(Buffer.alloc(65_536, ' ')));
      };
      response.on('drain', more);
      more();
    },
  ],
  [
    'a manifest that is cut off',
    (response) => response.writeHead(200, { 'content-length': '500' }).write('{') && response.destroy(),
  ],
  [
    'redirects without end',
    (response) => response.writeHead(307, { location: '/v2/cache/manifests/manifest' }).end(),
  ],
  ['a redirect to a file', (response) => response.writeHead(307, { location: 'file:///etc/shadow' }).end()],
  ['a redirect to nothing', (response) => response.writeHead(307, { location: 'http://[::1' }).end()],
  [
    'a manifest packed a thousandfold',
    (response) =>
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-type': indexType }).end(packed),
  ],
])('%s', async (_, answer) => {
  answers.set('manifest', answer);
  const { hold, said } = await build('manifest');
  expect(said).toBe('0 ');
  expect(hold).toBeLessThan(mostHold);
});

test('a config that is longer than the index says, without end, or another', async () => {
  const config = '{"records":[]}';
  serve('wrong', config, { digest: digestOf('another') });
  answers.set(digestOf('another'), Buffer.from(config));
  expect((await build('wrong')).said).toBe('0 ');
  serve('longer', config, { size: 3 });
  expect((await build('longer')).said).toBe('0 ');
  serve('endless', config, { digest: digestOf('endless') });
  answers.set(digestOf('endless'), (response) => {
    const more = () => {
      while (response.write(Buffer.alloc(65_536, '{')));
    };
    response.on('drain', more);
    more();
  });
  expect((await build('endless')).said).toBe('0 ');
  serve('huge', config, { size: 2 ** 53 });
  expect((await build('huge')).said).toBe('0 ');
});

test('a body that comes a byte at a time is waited for, and what it breaks off with is no end of the build', async () => {
  answers.set('slow', (response) => {
    const timer = setInterval(() => response.write(' '), 50);
    response.on('close', () => clearInterval(timer));
  });
  const building = build('slow');
  const patience = new Promise((resolve) => setTimeout(() => resolve('still at it'), 3000));
  expect(await Promise.race([building, patience])).toBe('still at it');
  // The registry gives up in the end; so does the build with its cache.
  await registry.stop();
  expect((await building).said).toBe('0 ');
});
