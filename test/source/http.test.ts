/** Fetching one file over http(s): names, checksums, revalidation, retries, errors. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { fail } from '../../src/errors/error.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { httpSource } from '../../src/source/http.ts';
import { runSource } from '../kit/run-op.ts';
import { treeOf } from '../kit/tree.ts';
import { Workshop } from '../kit/workshop.ts';

let shop: Workshop;
let server: Server;
let base: string;
let answer: (req: IncomingMessage, res: ServerResponse) => void = (_, res) => void res.end('hello');
const requests: IncomingMessage[] = [];

beforeAll(async () => {
  shop = new Workshop();
  await shop.open();
  server = createServer((req, res) => {
    requests.push(req);
    answer(req, res);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  requests.length = 0;
  answer = (_, res) => void res.end('hello');
});
afterAll(async () => {
  server.close();
  await shop.remove();
});

const run = (path: string, attrs: Record<string, string> = {}, options = {}) =>
  runSource(shop, httpSource, path.startsWith('http') ? path : `${base}${path}`, attrs, options);
const leftovers = () => readdirSync(shop.store.runDir).filter((name) => name.startsWith('http-'));

test('one file, named after the path, for root only, its time the server’s', async () => {
  answer = (_, res) => void res.setHeader('last-modified', 'Tue, 02 Jan 2024 03:04:05 GMT').end('hello');
  const { refs, release } = await run('/a/app.tar.gz?token=x');
  const view = await shop.view(refs[0]);
  expect(treeOf(view)).toEqual({ '/app.tar.gz': 'hello' });
  expect(view.lstat('/app.tar.gz')).toMatchObject({
    mode: 0o600,
    uid: 0,
    gid: 0,
    mtimeNs: BigInt(Date.parse('2024-01-02T03:04:05Z')) * 1_000_000n,
  });
  await release();
  expect(leftovers()).toEqual([]);
});

test('the path’s escapes are bytes of the name, be they UTF-8 or not', async () => {
  for (const [path, name] of Object.entries({ '/caf%C3%A9': '/café', '/caf%E9': '/caf\udce9' })) {
    expect(treeOf(await shop.view((await run(path)).refs[0]))).toEqual({ [name]: 'hello' });
  }
});

test('any port will do, those that browsers refuse as well', async () => {
  const refused = [6000, 6566, 6665, 6697, 10080];
  for (const port of refused) {
    const other = createServer((_, res) => void res.end('from there'));
    const listening = await new Promise<boolean>((resolve) => {
      other.once('error', () => resolve(false));
      other.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!listening) continue;
    try {
      const { refs, release } = await run(`http://127.0.0.1:${port}/f`);
      expect(treeOf(await shop.view(refs[0]))).toEqual({ '/f': 'from there' });
      await release();
    } finally {
      other.close();
    }
    return;
  }
  expect.fail(`all ports are taken: ${refused}`);
});

test('through a proxy, where the environment names one', async () => {
  // The environment is read when a process makes its first request: one of its own.
  const script = `
    import { download } from ${JSON.stringify(new URL('../../src/source/http-fetch.ts', import.meta.url).href)};
    const options = { headers: {}, signal: new AbortController().signal, report() {} };
    await download('http://nowhere.invalid/f', process.argv[1], options);
  `;
  const file = join(shop.root, 'proxied');
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, file], {
    env: { ...process.env, HTTP_PROXY: base, http_proxy: base, NO_PROXY: '', no_proxy: '' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(child, 'close');
  expect(code).toBe(0);
  expect(readFileSync(file, 'utf8')).toBe('hello');
  expect(requests.map(({ url }) => url)).toEqual(['http://nowhere.invalid/f']);
});

test('name, permissions and owner as asked for', async () => {
  const { refs } = await run('/x', {
    'http.filename': 'tool',
    'http.perm': '0755',
    'http.uid': '7',
    'http.gid': '8',
  });
  expect((await shop.view(refs[0])).lstat('/tool')).toMatchObject({ mode: 0o755, uid: 7, gid: 8 });
});

test('the server may name the file, but not place it', async () => {
  answer = (_, res) => void res.setHeader('content-disposition', 'attachment; filename="real.txt"').end('x');
  expect(treeOf(await shop.view((await run('/dl')).refs[0]))).toEqual({ '/real.txt': 'x' });
  answer = (_, res) =>
    void res.setHeader('content-disposition', 'attachment; filename="../../evil"').end('x');
  expect(treeOf(await shop.view((await run('/dl')).refs[0]))).toEqual({ '/dl': 'x' });
  answer = (_, res) => void res.end('x');
  expect(treeOf(await shop.view((await run('/')).refs[0]))).toEqual({ '/download': 'x' });
});

test('the key is the content, not the address', async () => {
  const a = await run('/one/f', {}, { mapOnly: true });
  const b = await run('/two/f', {}, { mapOnly: true });
  answer = (_, res) => void res.end('other');
  const c = await run('/three/f', {}, { mapOnly: true });
  expect(a.map.digest).toBe(b.map.digest);
  expect(c.map.digest).not.toBe(a.map.digest);
});

test('the file’s time is part of the key', async () => {
  const at = async (time: string, mapOnly: boolean) => {
    answer = (_, res) => void res.setHeader('last-modified', time).end('hello');
    return run('/timed', {}, { mapOnly });
  };
  const [old, fresh] = ['Sun, 09 Sep 2001 01:46:40 GMT', 'Fri, 14 Jul 2017 02:40:00 GMT'];
  const first = await at(old, true);
  expect((await at(old, true)).map.digest).toBe(first.map.digest);
  expect((await at(fresh, true)).map.digest).not.toBe(first.map.digest);
  const view = await shop.view((await at(fresh, false)).refs[0]);
  expect(view.lstat('/timed')?.mtimeNs).toBe(1_500_000_000_000_000_000n);
});

test.each([
  ['gzip', gzipSync],
  ['GZIP', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
  ['zstd', zstdCompressSync],
])('a server that encodes with %s unasked gives the file all the same', async (encoding, pack) => {
  const body = pack(Buffer.from('hello'));
  answer = (_, res) => {
    res.writeHead(200, { 'content-encoding': encoding, 'content-length': body.length });
    res.end(body);
  };
  const checksum = digestOf('hello');
  const { refs } = await run('/packed.txt', { 'http.checksum': checksum });
  expect(treeOf(await shop.view(refs[0]))).toEqual({ '/packed.txt': 'hello' });
});

test('an archive that is called x-gzip stays one; a body that is not encoded as it says is an error', async () => {
  const body = gzipSync('hello');
  answer = (_, res) => void res.setHeader('content-encoding', 'x-gzip').end(body);
  await run('/app.tgz', { 'http.checksum': digestOf(body) });
  requests.length = 0;
  answer = (_, res) => void res.setHeader('content-encoding', 'gzip').end('plain');
  await expect(run('/lie')).rejects.toMatchObject({
    code: 'corrupt',
    message: expect.stringContaining('the body is not what its Content-Encoding says'),
  });
  expect(requests).toHaveLength(1);
  // Cut off in the middle: asked again, as any broken connection.
  answer = (_, res) => {
    if (requests.length > 2) return void res.setHeader('content-encoding', 'gzip').end(body);
    res.writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length });
    res.write(body.subarray(0, 9));
    setTimeout(() => res.destroy(), 20);
  };
  const { refs } = await run('/cut');
  expect(treeOf(await shop.view(refs[0]))).toEqual({ '/cut': 'hello' });
});

test('what did not change is not sent again, even to a new process', async () => {
  answer = (req, res) => {
    if (req.headers['if-none-match'] === '"v1"') res.writeHead(304).end();
    else res.setHeader('etag', '"v1"').end('cached');
  };
  const first = await run('/etag', {}, { mapOnly: true });
  await shop.restart();
  const second = await run('/etag', {}, { mapOnly: true });
  expect(second.map.digest).toBe(first.map.digest);
  expect(requests.map((req) => req.headers['if-none-match'])).toEqual([undefined, '"v1"']);
  // Its record may be gone all the same: then the file is fetched after all.
  const third = await run('/etag');
  expect(treeOf(await shop.view(third.refs[0]))).toEqual({ '/etag': 'cached' });
});

test('a server is asked by HEAD whether it has what it had, as one that knows no If-None-Match can be', async () => {
  let version = '"v1"';
  answer = (_, res) => void res.setHeader('etag', version).end(`file ${version}`);
  const asked = () => requests.splice(0).map(({ method }) => method);
  const first = await run('/head', {}, { mapOnly: true });
  await first.release();
  expect(asked()).toEqual(['GET']);
  // The same file, which is now sent encoded.
  version = 'W/"v1"';
  expect((await run('/head', {}, { mapOnly: true })).map.digest).toBe(first.map.digest);
  expect(asked()).toEqual(['HEAD']);
  version = '"v2"';
  expect(treeOf(await shop.view((await run('/head')).refs[0]))).toEqual({ '/head': 'file "v2"' });
  expect(asked()).toEqual(['HEAD', 'GET']);
  // A server that takes no HEAD.
  answer = (req, res) => {
    if (req.method === 'HEAD') res.writeHead(405).end();
    else if (req.headers['if-none-match'] === '"v2"') res.writeHead(304).end();
    else res.end('asked without a condition');
  };
  await run('/head', {}, { mapOnly: true });
  expect(asked()).toEqual(['HEAD', 'GET']);
});

test('requests say that they are of BuildKit’s kind and that gzip will do, unless the source says otherwise', async () => {
  await run('/who');
  expect(requests[0]?.headers).toMatchObject({
    'user-agent': expect.stringMatching(/^buildkit\/v\d+\.\d+ drydock\/\d/),
    'accept-encoding': 'gzip',
  });
  await run('/who', { 'http.header.user-agent': 'me', 'http.header.accept': 'text/x' });
  expect(requests[1]?.headers).toMatchObject({ 'user-agent': 'me', accept: 'text/x' });
});

test('a file that is made into something else is fetched at once, not asked about first', async () => {
  answer = (req, res) => {
    if (req.headers['if-none-match'] === '"v1"') res.writeHead(304).end();
    else res.setHeader('etag', '"v1"').end('cached');
  };
  await run('/again');
  await run('/again', { 'http.perm': '0755' });
  expect(requests.map((req) => req.headers['if-none-match'])).toEqual([undefined, undefined]);
});

test('with a checksum the key needs no request, and the file must meet it', async () => {
  const checksum = digestOf('hello');
  await run('/sum', { 'http.checksum': checksum }, { mapOnly: true });
  expect(requests).toEqual([]);
  await run('/sum', { 'http.checksum': checksum });
  answer = (_, res) => void res.end('tampered');
  await expect(run('/sum', { 'http.checksum': checksum })).rejects.toMatchObject({
    code: 'corrupt',
    hop: 'http',
    message: `digest mismatch ${digestOf('tampered')}: ${checksum}`,
  });
  expect(leftovers()).toEqual([]);
});

test.each(['sha256', 'sha384', 'sha512'])('a checksum may be made by %s', async (algorithm) => {
  const sum = (text: string) => `${algorithm}:${createHash(algorithm).update(text).digest('hex')}`;
  const { refs, map } = await run('/any', { 'http.checksum': sum('hello') });
  expect(treeOf(await shop.view(refs[0]))).toEqual({ '/any': 'hello' });
  expect(map.used).toEqual({ kind: 'http', url: `${base}/any`, digest: sum('hello') });
  await expect(run('/any', { 'http.checksum': sum('other') })).rejects.toMatchObject({
    code: 'corrupt',
    message: `digest mismatch ${sum('hello')}: ${sum('other')}`,
    hint: expect.stringContaining(`${base}/any`),
  });
  expect(leftovers()).toEqual([]);
});

test.each([
  ['sha512:12', 'invalid digest "sha512:12": want sha512:<128 hex digits in lower case>'],
  [`sha384:${'A'.repeat(96)}`, 'want sha384:<96 hex digits in lower case>'],
  [`sha384:${'0'.repeat(97)}`, 'want sha384:<96 hex digits'],
  [`md5:${'0'.repeat(32)}`, 'unsupported digest algorithm md5'],
  ['__proto__:00', 'invalid digest "__proto__:00"'],
  ['constructor:00', 'unsupported digest algorithm constructor'],
  ['abcdef', 'invalid digest "abcdef": want sha256:<64 hex digits>'],
])('the checksum %s is refused, and nothing is asked for', async (checksum, why) => {
  await expect(run('/any', { 'http.checksum': checksum })).rejects.toThrow(why);
  expect(requests).toEqual([]);
});

test('a server that stumbles is asked again', async () => {
  let n = 0;
  answer = (_, res) => {
    n++;
    if (n === 1) res.writeHead(503).end();
    else if (n === 2) {
      res.writeHead(200, { 'content-length': '10' });
      res.write('hel');
      setTimeout(() => res.destroy(), 20);
    } else res.end('hello');
  };
  const { refs } = await run('/flaky');
  expect(treeOf(await shop.view(refs[0]))).toEqual({ '/flaky': 'hello' });
  expect(n).toBe(3);
});

test('errors name the URL and the status, never a password or a query’s value', async () => {
  answer = (_, res) => void res.writeHead(404).end();
  const url = base.replace('//', '//me:hunter2@').concat('/gone?sig=topsecret');
  await expect(run(url)).rejects.toMatchObject({
    code: 'not-found',
    hop: 'http',
    message: `${base}/gone?sig=…: invalid response status 404 Not Found`,
    details: { status: 404 },
  });
  expect(requests).toHaveLength(1);
  expect(requests[0]?.headers.authorization).toBe(`Basic ${btoa('me:hunter2')}`);
  await expect(run('http://127.0.0.1:1/x')).rejects.toMatchObject({ code: 'unavailable' });
});

test('a secret goes along as the Authorization header', async () => {
  const secret = async (id: string) => (id === 'api' ? Buffer.from('Bearer t0ken\n') : undefined);
  await run('/auth', { 'http.authheadersecret': 'api' }, { session: { secret } });
  expect(requests[0]?.headers.authorization).toBe('Bearer t0ken');
  await expect(
    run('/auth', { 'http.authheadersecret': 'none' }, { session: { secret } }),
  ).rejects.toMatchObject({
    code: 'not-found',
    hint: expect.stringContaining('--secret id=none'),
  });
});

test('without one, a secret that is named after the host', async () => {
  const given = (secrets: Record<string, string>) => ({
    session: {
      secret: async (id: string) => (Object.hasOwn(secrets, id) ? Buffer.from(secrets[id]!) : undefined),
    },
  });
  const header = { 'HTTP_AUTH_HEADER_127.0.0.1': 'Basic abc\n' };
  const token = { 'HTTP_AUTH_TOKEN_127.0.0.1': 'topsecret\n' };
  const sent = async (secrets: Record<string, string>, attrs = {}, url = `${base}/hosted`) => {
    await run(url, attrs, given(secrets));
    return requests.pop()?.headers.authorization;
  };
  expect(await sent(header)).toBe('Basic abc');
  expect(await sent({ ...header, ...token })).toBe('Bearer topsecret');
  expect(await sent({ ...token, api: 'mine' }, { 'http.authheadersecret': 'api' })).toBe('mine');
  expect(await sent(token, {}, base.replace('//', '//me:pw@'))).toBe('Bearer topsecret');
  expect(await sent({ HTTP_AUTH_TOKEN_localhost: 'x', 'HTTP_AUTH_TOKEN_127.0.0.1': '' })).toBeUndefined();
  const evil = { 'HTTP_AUTH_TOKEN_127.0.0.1': 'a\r\nx-evil: topsecret' };
  await expect(sent(evil)).rejects.toMatchObject({
    code: 'invalid',
    message: expect.not.stringContaining('topsecret'),
  });
});

test('a client that is gone or refuses to say has no secret for a host; one that cannot be read is an error', async () => {
  const failing = (err: Error) => ({
    session: {
      secret: async () => {
        throw err;
      },
    },
  });
  await run('/gone-client', {}, failing(fail('unavailable', 'session', 'the client is gone')));
  expect(requests).toHaveLength(1);
  const unreadable = failing(fail('not-found', 'client', 'secret x cannot be read'));
  await expect(run('/unread', {}, unreadable)).rejects.toMatchObject({ message: 'secret x cannot be read' });
});

test('a host’s secret goes to that origin alone', async () => {
  const seen: (string | undefined)[] = [];
  const other = createServer((req, res) => {
    seen.push(req.headers.authorization);
    res.end('from elsewhere');
  });
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  try {
    const elsewhere = `http://127.0.0.1:${(other.address() as AddressInfo).port}/x`;
    answer = (_, res) => void res.writeHead(302, { location: elsewhere }).end();
    const secret = async (id: string) =>
      id === 'HTTP_AUTH_TOKEN_127.0.0.1' ? Buffer.from('topsecret') : undefined;
    await run('/away', {}, { session: { secret } });
    expect(requests[0]?.headers.authorization).toBe('Bearer topsecret');
    expect(seen).toEqual([undefined]);
  } finally {
    other.close();
  }
});

test('an attribute that nobody knows is refused', async () => {
  await expect(run('/x', { 'http.pgp': 'y' })).rejects.toMatchObject({ code: 'unsupported', hop: 'llb' });
  await expect(run('/x', { 'http.perm': 'rw' })).rejects.toMatchObject({ code: 'invalid', hop: 'llb' });
  await expect(run('/x', { 'http.filename': '../x' })).rejects.toMatchObject({ code: 'invalid', hop: 'llb' });
});

test('an abort stops a download and leaves nothing', async () => {
  answer = (_, res) => void res.write('never ends');
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 100);
  await expect(run('/slow', {}, { signal: stop.signal })).rejects.toMatchObject({ code: 'canceled' });
  expect(leftovers()).toEqual([]);
  server.closeAllConnections();
});

test('a file that the client itself keeps, such as a context on its stdin, comes over its session', async () => {
  const asked: string[] = [];
  const upload = async (id: string) => {
    asked.push(id);
    return Readable.from([Buffer.from('from '), Buffer.from('stdin')]);
  };
  const { refs, map, release } = await run(
    'http://buildkit-session/abc123',
    { 'http.filename': 'context' },
    { session: { upload } },
  );
  expect(treeOf(await shop.view(refs[0]))).toEqual({ '/context': 'from stdin' });
  expect(asked).toEqual(['abc123']);
  await release();
  // Its bytes name it, not the ID it had this time.
  const again = await run(
    'http://buildkit-session/def456',
    { 'http.filename': 'context' },
    { session: { upload }, mapOnly: true },
  );
  expect(again.map.digest).toBe(map.digest);
  await again.release();
  expect(requests).toEqual([]);
  await expect(run('http://buildkit-session/none')).rejects.toMatchObject({
    code: 'not-found',
    hop: 'context',
  });
  expect(leftovers()).toEqual([]);
});
