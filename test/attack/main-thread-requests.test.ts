/**
 * Requests to docker's API made to keep the main thread busy: queries, headers and bodies of up to 1 MiB (the most that
 * is read), and a store of many names and large documents. Each leaves the thread to others within 50 ms of CPU time.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseIndex } from '../../src/distribution/documents.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { type Descriptor, mediaTypes } from '../../src/oci/types.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { tarOf } from '../kit/images.ts';
import { type Asker, mostHold, type SentElsewhere, startAsker, usualHold } from '../kit/thread-time.ts';

let daemon: TestDaemon;
let asker: Asker;

beforeAll(async () => {
  daemon = await startTestDaemon();
  asker = startAsker(daemon.socket);
  await daemon.ask('POST', '/build?t=one', { body: tarOf({ Dockerfile: 'FROM scratch\nLABEL a=b\n' }) });
});
afterAll(async () => {
  await asker.stop();
  await daemon.stop();
});

const json = (value: unknown) => encodeURIComponent(JSON.stringify(value));
const base64 = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64');
const many = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i));
const named = (count: number) => Object.fromEntries(many(count, (i) => `a${i}`).map((name) => [name, 'b']));
const get = (path: string, headers?: Record<string, string>): SentElsewhere => ({
  method: 'GET',
  path,
  headers,
});
const post = (path: string, headers?: Record<string, string>): SentElsewhere => ({
  method: 'POST',
  path,
  headers,
});

/** Asks a few times; gives the last answer. */
async function quickly(request: SentElsewhere) {
  let answer = { status: 0, text: '', length: 0 };
  const hold = await usualHold(async () => {
    answer = await asker.ask(request);
  });
  expect(hold).toBeLessThan(mostHold);
  return answer;
}

describe('what is more than anybody needs is a 400 that names the limit', () => {
  const filters = (route: string, text: string) => get(`${route}filters=${text}`);
  const config = (text: unknown) => get('/images/get?names=one', { 'x-registry-config': base64(text) });
  test.each<[string, SentElsewhere, string]>([
    ['parameters', get(`/images/json?${'a&'.repeat(500_000)}`), 'the query has 500001 values, at most 10000'],
    ['names to save', get(`/images/get?${many(60_000, (i) => `names=a${i}`).join('&')}`), 'at most 10000'],
    ['names to give', post(`/build?${many(90_000, (i) => `t=a${i}`).join('&')}`), 'at most 10000'],
    [
      'instructions to import with',
      post(`/images/create?fromSrc=-&${many(5_001, () => 'changes=ENV%20a=b').join('&')}`),
      'changes has 5001 values, at most 5000',
    ],
    ['lists in lists', filters('/images/json?', '['.repeat(900_000)), 'filters is nested more than 32 deep'],
    [
      'lists side by side',
      filters('/images/json?', `[${'[],'.repeat(300_000)}[]]`),
      'filters holds more than 50000 values',
    ],
    [
      'names of filters',
      filters('/images/json?', json(Object.fromEntries(many(26_000, String).map((name) => [name, []])))),
      'more than 50000 values',
    ],
    [
      'references',
      filters('/images/json?', json({ reference: many(20_000, (i) => `a${i}*b`) })),
      'filters has 20000 values, at most 1000',
    ],
    [
      'images of events',
      filters('/events?until=1&', json({ image: many(40_000, (i) => `a${i}`) })),
      'at most 1000',
    ],
    ['lists in a body', { ...post('/auth'), body: '['.repeat(1 << 20) }, 'the request body is nested'],
    ['names in a body', { ...post('/auth'), body: JSON.stringify(named(70_000)) }, 'the request body holds'],
    ['lists in a header', config('['.repeat(700_000)), 'the X-Registry-Config header is nested'],
    ['names in a header', config(named(60_000)), 'the X-Registry-Config header holds more than 50000 values'],
    [
      'features of a platform',
      get(`/images/one/json?platform=${json({ os: 'linux', 'os.features': many(60_000, (i) => `a${i}`) })}`),
      'platform holds more than 50000 values',
    ],
    [
      'platforms',
      post(`/build?platform=${many(60_000, (i) => `linux/a${i}`).join()}`),
      'at most 128 platforms, not for 60000',
    ],
    [
      'the length of an age',
      filters('/images/json?', json({ until: ['1h'.repeat(300_000)] })),
      'invalid value',
    ],
    ['parts of a reference', post(`/images/create?fromImage=${'a/'.repeat(450_000)}a`), 'invalid reference'],
    ['processors', post(`/build?cpusetcpus=${'9999,'.repeat(150_000)}0`), 'invalid cpusetcpus'],
  ])('%s', async (_, request, message) => {
    const { status, text } = await quickly(request);
    expect([status, text]).toEqual([400, expect.stringContaining(message)]);
  });
});

describe('what is long and holds is answered', () => {
  test.each<[string, SentElsewhere, number]>([
    [
      'a thousand references',
      get(`/images/json?filters=${json({ reference: many(1000, (i) => `a${i}*`) })}`),
      200,
    ],
    ['a value of escapes', get(`/images/json?a=${'%41'.repeat(330_000)}`), 200],
    ['a path', get(`/images/${'a.a/'.repeat(250_000)}a/json`), 404],
    ['a token', get('/images/json', { authorization: `Bearer ${'a'.repeat(900_000)}` }), 401],
    ['a password', get('/images/json', { authorization: `Basic ${base64('a:'.repeat(300_000))}` }), 401],
    [
      'logins of ten thousand registries',
      get('/images/get?names=none', {
        'x-registry-config': base64(
          Object.fromEntries(many(10_000, (i) => `h${i}`).map((host) => [host, { auth: 'YTpi' }])),
        ),
      }),
      404,
    ],
    [
      'a thousand ids to prune',
      post(`/build/prune?filters=${json({ id: many(1000, (i) => `a${i}`) })}`),
      200,
    ],
  ])('%s', async (_, request, status) => {
    expect((await quickly(request)).status).toBe(status);
  });
});

describe('of a store with 20,000 names and documents of megabytes', () => {
  const put = async (mediaType: string, value: unknown): Promise<Descriptor> => {
    const { content, leases } = daemon.engine.store;
    await leases.create('held').catch(() => {});
    const bytes = Buffer.from(JSON.stringify(value));
    return { mediaType, digest: await content.put(bytes, { lease: 'held' }), size: bytes.length };
  };
  const image = async (config: object): Promise<Descriptor> =>
    put(mediaTypes.ociManifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: await put(mediaTypes.ociConfig, {
        os: 'linux',
        architecture: 'amd64',
        rootfs: { type: 'layers', diff_ids: [] },
        ...config,
      }),
      layers: [],
    });

  beforeAll(async () => {
    const { images } = daemon.engine.store;
    const plain = await image({ config: { Labels: { a: 'plain' } } });
    for (let i = 0; i < 20_000; i++) await images.put(`docker.io/library/many:${i}`, plain);
    const platform = { os: 'linux', architecture: 'amd64' };
    const manifests = many(9_999, String).map((i) => ({
      ...plain,
      digest: digestOf(Buffer.from(i)),
      platform,
    }));
    const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...manifests, plain] };
    await images.put('docker.io/library/index:1', await put(mediaTypes.ociIndex, index));
    await images.put(
      'docker.io/library/large:1',
      await image({
        config: { Labels: named(10_000), Env: many(20_000, (i) => `a${i}=${'b'.repeat(200)}`) },
      }),
    );
    for (let i = 0; i < 500; i++) {
      await images.put(`docker.io/library/each:${i}`, await image({ config: { Labels: { a: String(i) } } }));
    }
  });

  test.each<[string, () => unknown, RegExp]>([
    ['lists more', () => ({ manifests: many(10_001, () => '') }), /its index lists more than 10000 images/],
    ['is deep', () => JSON.parse(`${'['.repeat(1000)}${']'.repeat(1000)}`), /lists in lists|more than 4 MiB/],
    ['is all values', () => many(2_000_001, () => ''), /lists in lists|more than 4 MiB/],
  ])('an index that %s is refused', async (_, make, why) => {
    const bytes = Buffer.from(JSON.stringify(make()));
    expect(() => parseIndex(bytes, { name: 'x', hop: 'registry' })).toThrow(why);
  });

  test.each<[string, SentElsewhere, string | number]>([
    ['the list', get('/images/json'), 'many:19999'],
    [
      'those that fit',
      get(`/images/json?filters=${json({ reference: many(20, (i) => `m*y:${i}`) })}`),
      'many:19',
    ],
    ['what they take', get('/system/df?type=image&verbose=1'), 'many:1'],
    ['one by its name', get('/images/many:7/json'), 'many:7'],
    ['one by its ID', get('/images/ffffffffffff/json'), 404],
    ['one with 10,000 labels', get('/images/large:1/json'), 'a99'],
    ['one of an index of 10,000', get('/images/index:1/json'), 'index:1'],
    ['a name more', post('/images/many:7/tag?repo=many&tag=other'), 201],
    ['none to push', post('/images/none/push', { 'x-registry-auth': base64({}) }), 404],
    ['none to prune', post(`/images/prune?filters=${json({ label: ['none'] })}`), 200],
    ['the metrics', get('/metrics'), 200],
  ])('%s', async (_, request, wanted) => {
    const { status, text, length } = await quickly(request);
    if (typeof wanted === 'number') expect(status).toBe(wanted);
    else expect([status, length, text]).toEqual([200, expect.any(Number), expect.stringContaining(wanted)]);
  });
});
