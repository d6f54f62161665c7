/** Object stores on bad days: they refuse, throttle, break off, tell another time, or say nothing at all. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ObjectStore, openObjectStore, troubleOf } from '../../src/object-store/index.ts';
import { largeObject, thrown } from '../kit/bad-days.ts';
import { type FaultProxy, startFaultProxy } from '../kit/fault-proxy.ts';
import { s3Spec, startS3, type TestObjectServer } from '../kit/object-stores.ts';

let server: TestObjectServer;
let proxy: FaultProxy;
let store: ObjectStore;
const { bytes, source, sum } = largeObject(17_000_000);

beforeAll(async () => {
  server = await startS3();
  proxy = await startFaultProxy(server.host);
  store = await openObjectStore(s3Spec(proxy.host), { backoffMs: 5 });
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

const s3Error = (code: string, message = 'said the store') =>
  `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;

async function sumOf(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest('hex');
}

describe('what passes is tried again', () => {
  test.each([
    ['500', { status: 500 }],
    ['502', { status: 502, body: '<html>Bad Gateway</html>' }],
    ['503 SlowDown', { status: 503, body: s3Error('SlowDown') }],
    ['429', { status: 429 }],
    ['an answer that breaks off', { cutAfter: 3 }],
  ] as const)('%s', async (_, fault) => {
    proxy.next(/GET/, fault, fault);
    const { stream } = await store.get('there');
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('it is there');
    expect(proxy.asked).toHaveLength(3);
  });

  test('silence', async () => {
    const hurried = await openObjectStore(s3Spec(proxy.host), { backoffMs: 5, idleMs: 1000 });
    proxy.next(/GET/, 'silence');
    const { stream } = await hurried.get('there');
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('it is there');
    expect(proxy.asked.length).toBeGreaterThan(1);
    hurried.close();
  });

  test('a large object that breaks off is read on from there', async () => {
    proxy.next(/GET/, { cutAfter: 5_000_000 }, { cutAfter: 5_000_000 });
    expect(await sumOf((await store.get('large')).stream)).toBe(sum);
    expect(proxy.asked).toHaveLength(3);
  });

  test('of an upload in parts, the part that broke off is sent again', async () => {
    proxy.next(/PUT .*partNumber=2/, { resetAfter: 100_000 }, { status: 500 });
    await store.put('blobs/parts', source, { sameBytes: true });
    expect(proxy.asked.filter((each) => each.includes('partNumber=2'))).toHaveLength(3);
    expect(proxy.asked.filter((each) => each.includes('partNumber=1'))).toHaveLength(1);
    expect(await sumOf((await store.get('blobs/parts')).stream)).toBe(sum);
  });

  test('an upload that ends with a 200 and an error in it is ended again', async () => {
    proxy.next(/POST .*uploadId/, { status: 200, body: s3Error('InternalError') });
    await store.put('blobs/ended', source);
    expect(await store.head('blobs/ended')).toMatchObject({ size: bytes.length });
  });

  test('Retry-After is obeyed; one that asks for minutes is an error at once', async () => {
    proxy.next(/GET/, { status: 503, headers: { 'retry-after': '1' } });
    const before = Date.now();
    await store.get('there');
    expect(Date.now() - before).toBeGreaterThanOrEqual(1000);
    proxy.next(/GET/, { status: 503, headers: { 'retry-after': '600' } });
    const err = await thrown(store.get('there'));
    expect(troubleOf(err)).toBe('temporary');
    expect(proxy.asked).toHaveLength(3);
  });

  test('one that goes on is an error with its kind, the place, and a remedy', async () => {
    proxy.fault = () => ({ status: 503, body: s3Error('SlowDown', 'Please reduce your request rate.') });
    const err = await thrown(store.put('x', Buffer.from('x')));
    expect(troubleOf(err)).toBe('throttled');
    expect(err).toMatchObject({
      code: 'unavailable',
      hop: 'bucket',
      message:
        'writing x of s3://caches: the store answered 503 (SlowDown: Please reduce your request rate.)',
      hint: 'The store limits how often it is asked: try again later, or with less at once.',
    });
    expect(proxy.asked).toHaveLength(5);
  });
});

describe('what does not pass is told at once', () => {
  test.each([
    ['forbidden', 403, 'AccessDenied', 'denied'],
    ['forbidden', 403, 'InvalidAccessKeyId', 'denied'],
    ['expired-token', 400, 'ExpiredToken', 'unauthenticated'],
    ['no-bucket', 404, 'NoSuchBucket', 'not-found'],
    ['unsupported', 501, 'NotImplemented', 'unsupported'],
    ['other', 400, 'InvalidArgument', 'invalid'],
  ] as const)('%s: %i %s', async (trouble, status, code, kind) => {
    proxy.fault = () => ({ status, body: s3Error(code) });
    const err = await thrown(store.get('there'));
    expect(troubleOf(err)).toBe(trouble);
    expect(err).toMatchObject({ code: kind });
    expect(proxy.asked).toHaveLength(1);
  });

  test('keys that the store does not know', async () => {
    const keys = { accessKeyId: 'nobody', secretAccessKey: 'hidden words' };
    const other = await openObjectStore({ ...s3Spec(proxy.host), keys });
    const err = await thrown(other.put('x', Buffer.from('x')));
    expect(troubleOf(err)).toBe('forbidden');
    expect(String(err)).toContain('InvalidAccessKeyId');
    expect(err).toMatchObject({ hint: 'Check the access key and its secret.' });
    expect(String(err)).not.toContain('hidden words');
  });

  test('the answer to HEAD has no body: the reason is asked for', async () => {
    proxy.fault = () => ({ status: 400, body: s3Error('ExpiredToken') });
    expect(troubleOf(await thrown(store.head('there')))).toBe('expired-token');
  });

  test('a bucket of another region names it', async () => {
    proxy.fault = () => ({ status: 301, headers: { 'x-amz-bucket-region': 'eu-west-1' } });
    expect(await thrown(store.get('there'))).toMatchObject({
      hint: 'The bucket is in eu-west-1: give region=eu-west-1.',
    });
  });
});

test('a clock that is off is corrected by the time that the store tells', async () => {
  const now = Date.now;
  Date.now = () => now() - 3_600_000;
  try {
    const off = await openObjectStore(s3Spec(server.host), { backoffMs: 5 });
    const { stream } = await off.get('there');
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('it is there');
    await off.put('later', Buffer.from('x'));
    off.close();
  } finally {
    Date.now = now;
  }
  // A store that does not tell a better one.
  proxy.fault = () => ({ status: 403, body: s3Error('RequestTimeTooSkewed') });
  const err = await thrown(store.get('there'));
  expect(troubleOf(err)).toBe('clock-skew');
  expect(err).toMatchObject({ hint: 'Set the clock of this machine (timedatectl).' });
});

test('to touch is to copy an object onto itself', async () => {
  const seen: unknown[] = [];
  proxy.fault = ({ method, headers }) => {
    if (method === 'PUT') seen.push([headers['x-amz-copy-source'], headers['x-amz-metadata-directive']]);
    return undefined;
  };
  await store.touch('there');
  expect(seen).toEqual([['/caches/there', 'REPLACE']]);
});

test('adaptive: while the store asks for fewer requests, all of them wait their turn', async () => {
  const slow = await openObjectStore(s3Spec(proxy.host), { backoffMs: 1, adaptive: true });
  proxy.next(/GET/, { status: 503, body: s3Error('SlowDown') });
  await slow.get('there');
  const before = Date.now();
  await Promise.all([1, 2, 3].map(() => slow.head('there')));
  expect(Date.now() - before).toBeGreaterThan(20);
  slow.close();
});
