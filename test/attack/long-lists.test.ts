/** Lists of a request that nobody would write by hand: what each item costs a build is asked for no oftener than is sound. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { absolutePath } from '../../src/llb/paths.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { tarOf } from '../kit/images.ts';

let daemon: TestDaemon;

beforeAll(async () => {
  daemon = await startTestDaemon();
});
afterAll(() => daemon.stop());

const json = (value: unknown) => encodeURIComponent(JSON.stringify(value));
const many = (count: number, item: (i: number) => string) => Array.from({ length: count }, (_, i) => item(i));

/** What went wrong with a build; undefined when nothing did. It takes seconds of processor time at most. */
async function build(query: string, dockerfile = 'FROM scratch\nLABEL a=b\n'): Promise<string | undefined> {
  const started = process.cpuUsage();
  const { text } = await daemon.ask('POST', `/build?${query}`, { body: tarOf({ Dockerfile: dockerfile }) });
  const { user, system } = process.cpuUsage(started);
  expect((user + system) / 1000).toBeLessThan(10_000);
  return text
    .trim()
    .split('\r\n')
    .map((line) => JSON.parse(line) as { error?: string; message?: string })
    .map(({ error, message }) => error ?? message)
    .find((found) => found !== undefined);
}

test('of caches to import: none of them is asked for', async () => {
  const caches = many(5000, (i) => `type=registry,ref=127.0.0.1:9/cache:${i}`);
  expect(await build(`cachefrom=${json(caches)}`)).toContain('more than 256 caches');
  expect(await build(`cachefrom=${json(many(5000, (i) => `cache:${i}`))}`)).toContain('more than 256 caches');
  expect(await build(`version=2&cachefrom=${json(caches)}`)).toContain('more than 256 caches');
});

test('of names for the image', async () => {
  expect(await build(many(5000, (i) => `t=a${i}`).join('&'))).toContain('at most 1024 names, not 5000');
  expect((await daemon.ask('GET', '/images/json')).json()).toEqual([]);
});

test('of platforms: one that is named again is the same one', async () => {
  expect(await build(`platform=${many(5000, () => 'linux/amd64').join()}`)).toBeUndefined();
  expect(await build(`platform=${many(5000, (i) => `linux/a${i}`).join()}`)).toContain(
    'at most 128 platforms, not for 5000',
  );
});

test('of images that others were made before or after', async () => {
  expect(await build('t=one')).toBeUndefined();
  const started = process.cpuUsage();
  const list = (filters: object) => daemon.ask('GET', `/images/json?filters=${json(filters)}`);
  expect((await list({ since: many(1000, () => 'one') })).json()).toEqual([]);
  expect((await list({ before: many(1000, (i) => `none${i}`) })).status).toBe(404);
  expect((await list({ since: many(5000, () => 'one') })).status).toBe(400);
  const { user, system } = process.cpuUsage(started);
  expect((user + system) / 1000).toBeLessThan(10_000);
});

test('of folders on the way to the Dockerfile', async () => {
  expect(await build(`dockerfile=${'../'.repeat(250_000)}x`)).toContain(
    "the Dockerfile's path has 750001 characters",
  );
  expect(await build(`version=2&dockerfile=${'../'.repeat(250_000)}x`)).toContain('characters');
});

test('of folders that a path goes into and out of again', async () => {
  const steps = Array.from({ length: 16 }, () => `${'a/b/../'.repeat(8000)}\\\n`).join('');
  expect(await build('', `FROM scratch\nWORKDIR /${steps}../../x\n`)).toBeDefined();
  const started = process.cpuUsage();
  expect(absolutePath('/w', `${'a/b/../../'.repeat(500_000)}x`)).toBe('/w/x');
  const { user, system } = process.cpuUsage(started);
  expect((user + system) / 1000).toBeLessThan(5000);
});

test('of ports', async () => {
  const lines = (count: number) => `FROM scratch\n${'EXPOSE 1-65535\n'.repeat(count)}`;
  expect(await build('', lines(1))).toBeUndefined();
  expect(await build('', lines(1000))).toContain('more than 65,536 ports');
});
