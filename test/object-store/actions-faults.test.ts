/** The Actions cache on bad days: it refuses, throttles, breaks off, and its URLs and tokens end. */
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ActionsCache, readActionsToken, troubleOf } from '../../src/object-store/index.ts';
import { type ActionsServer, startActionsCache } from '../kit/actions-cache.ts';
import { largeObject, thrown } from '../kit/bad-days.ts';
import { type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';

let server: ActionsServer;
let proxy: FaultProxy;
const { source, sum } = largeObject(34_000_000);

beforeAll(async () => {
  server = await startActionsCache();
  proxy = await startFaultProxy(server.host);
});
afterAll(async () => {
  await proxy?.stop();
  await server?.stop();
});

describe.each([2, 1] as const)('version %i', (version) => {
  const open: ActionsCache[] = [];
  const cache = (token = server.token('refs/heads/main'), timeoutMs = 5000) => {
    const made = new ActionsCache({ url: `http://${proxy.host}`, version, token, timeoutMs, backoffMs: 5 });
    open.push(made);
    return made;
  };
  afterEach(() => {
    for (const each of open.splice(0)) each.close();
    proxy.fault = () => undefined;
    proxy.asked.length = 0;
  });
  const sumOf = async (made: ActionsCache, key: string) => {
    const entry = await made.find(key);
    const hash = createHash('sha256');
    for await (const chunk of (await made.read(entry!)).stream) hash.update(chunk);
    return hash.digest('hex');
  };
  const find = version === 2 ? /GetCacheEntryDownloadURL/ : /GET .*cache\?/;
  const upload = version === 2 ? /PUT \/up\/.*comp=block&/ : /PATCH/;

  test.each([
    ['500', { status: 500 }],
    ['502', { status: 502, body: '<html>Bad Gateway</html>' }],
    ['503', { status: 503, body: '{"code":"unavailable","msg":"later"}' }],
    ['429', { status: 429, body: '{"code":"resource_exhausted","msg":"later"}' }],
  ] as const)('a burst of %s passes', async (name, fault) => {
    const made = cache();
    await made.save(`burst-${name}-${version}`, Buffer.from('x'));
    proxy.asked.length = 0;
    proxy.next(find, fault, fault, fault);
    expect(await made.find(`burst-${name}-${version}`)).toBeDefined();
    expect(proxy.asked).toHaveLength(4);
  });

  test('Retry-After is obeyed within timeout=, and an error at once beyond it', async () => {
    const made = cache(undefined, 3000);
    proxy.next(find, { status: 429, headers: { 'retry-after': '1' } });
    const before = Date.now();
    expect(await made.find('nothing')).toBeUndefined();
    expect(Date.now() - before).toBeGreaterThanOrEqual(1000);
    proxy.next(find, { status: 429, headers: { 'retry-after': '60' } });
    expect(troubleOf(await thrown(made.find('nothing')))).toBe('throttled');
    expect(proxy.asked).toHaveLength(3);
  });

  test('what breaks off goes on: an upload with the piece, a download from the byte that came last', async () => {
    const made = cache();
    const key = `large-${version}`;
    proxy.next(upload, { resetAfter: 100_000 }, { status: 503 });
    expect(await made.save(key, source)).toBe(true);
    proxy.asked.length = 0;
    proxy.next(/GET \/down\//, { cutAfter: 5_000_000 }, { cutAfter: 5_000_000 });
    expect(await sumOf(made, key)).toBe(sum);
    expect(proxy.asked.filter((each) => each.startsWith('GET /down/'))).toHaveLength(3);
  });

  test('a URL that has ended is asked for anew', async () => {
    const made = cache();
    const key = `ended-${version}`;
    await made.save(key, Buffer.from('it is there'));
    const entry = await made.find(key);
    proxy.next(/GET \/down\//, { status: 403, body: '<Error><Code>AuthenticationFailed</Code></Error>' });
    const { stream } = await made.read(entry!);
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('it is there');
  });

  test('403, and a token that the service does not take, are told at once', async () => {
    proxy.fault = () => ({ status: 403, body: '{"code":"permission_denied","msg":"no"}' });
    expect(await thrown(cache().find('x'))).toMatchObject({
      code: 'denied',
      message: 'looking for x of the Actions cache: the store answered 403 (permission_denied: no)',
      hint: expect.stringContaining('ACTIONS_RUNTIME_TOKEN'),
    });
    expect(proxy.asked).toHaveLength(1);
    proxy.fault = () => undefined;
    const err = await thrown(cache('a.b.c').find('x'));
    expect(troubleOf(err)).toBe('forbidden');
    expect(String(err)).not.toContain('a.b.c');
  });
});

test('the service says whether a token has ended, not the clock of this machine', async () => {
  const ended = server.token('refs/heads/main', { endsIn: -10 });
  const ask = async (token: string) => {
    const { end: tokenEnd } = readActionsToken(token);
    const common = { url: `http://${server.host}`, version: 2, timeoutMs: 1000, backoffMs: 5 } as const;
    const made = new ActionsCache({ ...common, token, tokenEnd });
    try {
      return await made.find('x');
    } finally {
      made.close();
    }
  };
  const err = await thrown(ask(ended));
  expect(troubleOf(err)).toBe('expired-token');
  expect(err).toMatchObject({
    message: expect.stringMatching(/the store answered 401 \(.*; the token ended at 20\S+Z\)$/),
    hint: 'Tokens end some hours after their job began: build earlier in the job.',
  });
  const now = Date.now;
  const good = server.token('refs/heads/main');
  Date.now = () => now() + 36_000_000;
  try {
    expect(await ask(good)).toBeUndefined();
  } finally {
    Date.now = now;
  }
});
