/** The page's API of the disk: what the cache holds, what a prune would free, pruning by selection; who may. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DiskUsage, PruneAnswer } from '../../../src/api/ui/types.ts';
import { createToken } from '../../../src/auth/token-hash.ts';
import { shellContext } from '../../kit/api-builds.ts';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';

let daemon: TestDaemon;
const reader = createToken();
const api = '/ui/api/v1';

beforeAll(async () => {
  const policyFile = `/tmp/drydock-ui-disk-${process.pid}.json`;
  const tokens = [{ name: 'reader', hash: reader.hash }];
  const rules = [
    { match: { uid: 0 }, scopes: ['*'] },
    { match: { token: 'reader' }, scopes: ['cache:read', 'builds:all'] },
  ];
  writeFileSync(policyFile, JSON.stringify({ rules, tokens }), { mode: 0o600 });
  daemon = await startTestDaemon({ imageStore: 'local', policyFile });
  const steps = 'RUN head -c 300000 /dev/urandom > /big\nRUN echo small > /small';
  await build(`${steps}\nRUN --mount=type=cache,id=npm,target=/npm echo kept > /npm/file`, 't=app:1');
  await build('RUN head -c 200000 /dev/urandom > /loose');
  // Without a name, the second image is nobody's.
  await daemon.ask('POST', '/images/prune');
});
afterAll(() => daemon.stop());

function build(dockerfile: string, query = '') {
  const body = tarOf(shellContext(dockerfile, {}, ['head', 'echo']));
  return daemon.ask('POST', `/build?version=2&${query}`, { body });
}

const asReader = { authorization: `Bearer ${reader.token}` };
const disk = async (query = '') => (await daemon.ask('GET', `${api}/disk?${query}`)).json<DiskUsage>();
const prune = (body: object, headers: Record<string, string> = {}) =>
  daemon.ask('POST', `${api}/disk/prune`, { body: Buffer.from(JSON.stringify(body)), headers });

test('records with their sizes, why they are kept, and sums of their kinds', async () => {
  const { records, kinds, more, policy, disk: place } = await disk();
  const big = records.find(({ description }) => description.includes('> /big'));
  expect(big).toMatchObject({ type: 'regular', keptBy: 'image', images: ['docker.io/library/app:1'] });
  expect(big?.size).toBeGreaterThanOrEqual(300_000);
  const loose = records.find(({ description }) => description.includes('> /loose'));
  expect(loose).toMatchObject({ keptBy: 'policy' });
  expect(loose?.room).toBeGreaterThan(0);
  expect(records.find(({ mount }) => mount !== undefined)).toMatchObject({ type: 'exec.cachemount' });
  expect(more).toBe(false);
  expect(policy).toEqual([expect.objectContaining({ all: true, maxUsedSpace: expect.any(Number) })]);
  expect(place.free).toBeLessThanOrEqual(place.size);
  for (const { type, records: number, size } of kinds) {
    const ofKind = records.filter((record) => record.type === type);
    expect(number).toBe(ofKind.length);
    expect(size).toBe(ofKind.reduce((sum, record) => sum + record.size, 0));
  }
});

test('the largest of those that fit', async () => {
  const found = await disk('sort=size&limit=1&filter=type=regular&filter=description~=big|small|loose');
  expect(found.records.map(({ description }) => description)).toEqual([expect.stringContaining('> /big')]);
  expect(found.more).toBe(true);
  expect(found.kinds).toEqual([expect.objectContaining({ type: 'regular', records: 3 })]);
  expect((await disk('filter=until=1h')).records).toEqual([]);
  for (const query of ['sort=name', 'filter=colour=red', 'filter=until=soon', 'limit=-1'])
    expect((await daemon.ask('GET', `${api}/disk?${query}`)).status).toBe(400);
});

test('a dry run says what the disk would get, and takes nothing', async () => {
  const before = await disk();
  const big = before.records.find(({ description }) => description.includes('> /big'))!;
  const loose = before.records.find(({ description }) => description.includes('> /loose'))!;
  const foreseen = (await prune({ dryRun: true, ids: [big.id, loose.id], all: true })).json<PruneAnswer>();
  // The image keeps its layer.
  expect(foreseen).toEqual({ records: 2, size: big.size + loose.size, freed: loose.size });
  expect((await disk()).records).toHaveLength(before.records.length);
});

test('nobody prunes without the scope, from another page, or by a body that does not say what', async () => {
  const count = (await disk()).records.length;
  expect((await daemon.ask('GET', `${api}/disk`, { headers: asReader })).status).toBe(200);
  expect((await prune({ all: true }, asReader)).status).toBe(403);
  expect((await prune({ all: true }, { origin: 'http://evil.example' })).status).toBe(403);
  expect((await prune({ all: true }, { 'sec-fetch-site': 'same-site' })).status).toBe(403);
  for (const body of [{}, { dryRun: false }, { ids: 'x' }, { everything: true }, { keepBytes: -1 }, []])
    expect((await prune(body)).status).toBe(400);
  expect((await disk()).records).toHaveLength(count);
});

test('pruning by selection takes the selection, and gives back what the dry run said', async () => {
  const { records } = await disk();
  const loose = records.find(({ description }) => description.includes('> /loose'))!;
  const foreseen = (await prune({ dryRun: true, ids: [loose.id] })).json<PruneAnswer>();
  const done = (await prune({ ids: [loose.id] })).json<PruneAnswer>();
  expect(done.records).toBe(1);
  expect(done.freed).toBeGreaterThanOrEqual(foreseen.freed);
  const left = (await disk()).records.map(({ id }) => id);
  expect(left).toEqual(records.map(({ id }) => id).filter((id) => id !== loose.id));
});
