/** Azure Blob Storage on bad days: it refuses, throttles, breaks off, tells another time, or its signatures end. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ObjectStore, openObjectStore, troubleOf } from '../../src/object-store/index.ts';
import { largeObject, thrown } from '../kit/bad-days.ts';
import { type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';
import { azureSpec, startAzurite, type TestObjectServer } from '../kit/object-stores.ts';

let server: TestObjectServer;
let proxy: FaultProxy;
let store: ObjectStore;
const { source, sum } = largeObject(34_000_000);

beforeAll(async () => {
  server = await startAzurite();
  proxy = await startFaultProxy(server.host);
  store = await openObjectStore(azureSpec(proxy.host), { backoffMs: 5 });
  await store.put('there', Buffer.from('it is there'));
  await store.put('large', source);
});
beforeEach(() => {
  proxy.fault = () => undefined;
  proxy.asked.length = 0;
});
afterAll(async () => {
  store?.close();
  await proxy?.stop();
  await server?.stop();
});

const azureError = (code: string, detail = '') =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>said the store
RequestId:1</Message>${detail && `<AuthenticationErrorDetail>${detail}</AuthenticationErrorDetail>`}</Error>`;
const textOf = async (key: string) => Buffer.concat(await (await store.get(key)).stream.toArray()).toString();
const sumOf = async (key: string) => {
  const hash = createHash('sha256');
  for await (const chunk of (await store.get(key)).stream) hash.update(chunk);
  return hash.digest('hex');
};

describe('what passes is tried again', () => {
  test.each([
    ['500', { status: 500, body: azureError('InternalError') }],
    ['502', { status: 502, body: '<html>Bad Gateway</html>' }],
    ['503 ServerBusy', { status: 503, body: azureError('ServerBusy') }],
    ['429', { status: 429 }],
    ['an answer that breaks off', { cutAfter: 3 }],
  ] as const)('%s', async (_, fault) => {
    proxy.next(/GET/, fault, fault);
    expect(await textOf('there')).toBe('it is there');
    expect(proxy.asked).toHaveLength(3);
  });

  test('Retry-After is obeyed; one that asks for minutes is an error at once', async () => {
    proxy.next(/GET/, { status: 429, headers: { 'retry-after': '1' } });
    const before = Date.now();
    expect(await textOf('there')).toBe('it is there');
    expect(Date.now() - before).toBeGreaterThanOrEqual(1000);
    proxy.next(/GET/, { status: 503, headers: { 'retry-after': '600' } });
    expect(troubleOf(await thrown(store.get('there')))).toBe('throttled');
    expect(proxy.asked).toHaveLength(3);
  });

  test('a large blob that breaks off is read on from there', async () => {
    proxy.next(/GET/, { cutAfter: 5_000_000 }, { cutAfter: 5_000_000 });
    expect(await sumOf('large')).toBe(sum);
    expect(proxy.asked).toHaveLength(3);
  });

  test('of an upload by blocks, the block that broke off is sent again', async () => {
    const second = /PUT .*comp=block&blockid=\S*0Mg%3D%3D|PUT .*comp=block&/;
    proxy.next(second, { resetAfter: 100_000 }, { status: 503, body: azureError('ServerBusy') });
    await store.put('blocks', source);
    const blocks = proxy.asked.filter((each) => each.includes('comp=block&'));
    expect(new Set(blocks).size).toBe(3);
    expect(blocks).toHaveLength(5);
    expect(await sumOf('blocks')).toBe(sum);
  });

  test('one that goes on is an error with its kind, the place, and a remedy', async () => {
    proxy.fault = () => ({ status: 503, body: azureError('ServerBusy') });
    expect(await thrown(store.put('x', Buffer.from('x')))).toMatchObject({
      code: 'unavailable',
      hop: 'bucket',
      message: expect.stringMatching(
        /^writing x of \S+: the store answered 503 \(ServerBusy: said the store\)$/,
      ),
      hint: 'The store limits how often it is asked: try again later, or with less at once.',
    });
    expect(proxy.asked).toHaveLength(5);
  });
});

describe('what does not pass is told at once', () => {
  test.each([
    ['forbidden', 403, 'AuthorizationPermissionMismatch', '', 'denied'],
    ['forbidden', 403, 'AuthenticationFailed', 'The MAC signature is not the same', 'denied'],
    [
      'expired-token',
      403,
      'AuthenticationFailed',
      'Signature not valid in the specified time frame: Expiry [Mon, 01 Jan 2024]',
      'unauthenticated',
    ],
    [
      'expired-token',
      401,
      'InvalidAuthenticationInfo',
      'Lifetime validation failed. The token is expired.',
      'unauthenticated',
    ],
  ] as const)('%s: %i %s %s', async (trouble, status, code, detail, kind) => {
    proxy.fault = () => ({ status, body: azureError(code, detail) });
    const err = await thrown(store.get('there'));
    expect(troubleOf(err)).toBe(trouble);
    expect(err).toMatchObject({ code: kind });
    expect(proxy.asked).toHaveLength(1);
  });

  test('a key that is not the account’s is not told again', async () => {
    const key = Buffer.from('not the key').toString('base64');
    const spec = azureSpec(proxy.host);
    const other = await openObjectStore({
      ...spec,
      proof: { type: 'key', account: 'devstoreaccount1', key },
    });
    const err = await thrown(other.put('x', Buffer.from('x')));
    other.close();
    expect(troubleOf(err)).toBe('forbidden');
    expect(String(err)).not.toContain(key);
  });
});

test('a clock that is off is corrected by the time that the store tells', async () => {
  const theirs = new Date(Date.now() + 3_600_000);
  const dates: number[] = [];
  proxy.fault = ({ headers }) => {
    const date = Date.parse(String(headers['x-ms-date']));
    dates.push(date);
    // Azure takes a request whose date is up to 15 minutes off.
    if (Math.abs(date - theirs.getTime()) < 900_000) return undefined;
    const body = azureError('AuthenticationFailed', 'The Date header in the request is incorrect.');
    return { status: 403, headers: { date: theirs.toUTCString() }, body };
  };
  const off = await openObjectStore(azureSpec(proxy.host), { backoffMs: 5 });
  const { stream } = await off.get('there').catch((err) => {
    throw new Error(String(err));
  });
  stream.destroy();
  off.close();
  expect(dates).toHaveLength(2);
  expect(dates[1]! - dates[0]!).toBeGreaterThan(3_500_000);
  // One that does not tell a better time.
  proxy.fault = () => ({
    status: 403,
    headers: { date: new Date(0).toUTCString() },
    body: azureError('AuthenticationFailed'),
  });
  const err = await thrown(store.get('there'));
  expect(troubleOf(err)).toBe('clock-skew');
  expect(err).toMatchObject({ hint: 'Set the clock of this machine (timedatectl).' });
});
