/** Manifests and configs made to be read for ever: each is refused wherever it comes from, at its size. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf, hex } from '../../src/oci/digest.ts';
import { documentExcess } from '../../src/oci/document.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { tarOf } from '../kit/images.ts';
import { mostHold, usualHold } from '../kit/thread-time.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon();
});
afterAll(() => daemon.stop());

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const named = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k"\\,${i}`, 'a:{,']));

test('what a document may be', () => {
  expect(documentExcess(bytes(named(70_000)))).toBeUndefined();
  expect(documentExcess(bytes(named(70_001)))).toBe('more than 70000 names');
  expect(documentExcess(bytes(Array(250_001).fill(0)))).toBe('more than 140000 items');
  expect(documentExcess(bytes('x'.repeat(4 << 20)))).toContain('more than 4 MiB');
  expect(documentExcess(bytes('\\",:{'.repeat(300_000)))).toBeUndefined();
  // What ends in the middle of a text is for the parser to refuse.
  expect(documentExcess(Buffer.from(`"${'\\'.repeat(200_001)}`))).toBeUndefined();
});

/** An archive of one image without layers, as `docker save` makes it. */
function archive(config: object): Buffer {
  const text = bytes({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [] },
    ...config,
  });
  const name = `blobs/sha256/${hex(digestOf(text))}`;
  return tarOf({ [name]: text, 'manifest.json': bytes([{ Config: name, RepoTags: ['big:1'], Layers: [] }]) });
}

const load = async (body: Buffer) =>
  (await daemon.ask('POST', '/images/load', { body, headers: { 'content-type': 'application/x-tar' } })).text;

test.each<[string, object]>([
  ['variables', { config: { Env: Array.from({ length: 65_000 }, (_, i) => `a${i}=`) } }],
  ['labels', { config: { Labels: named(69_900) } }],
  [
    'history',
    {
      history: Array(14_000).fill({
        created_by: 'a',
        comment: '',
        empty_layer: true,
        created: '2024-01-01T00:00:00Z',
      }),
    },
  ],
])('an image with as many %s as there may be is loaded, and built on', async (_, config) => {
  const body = archive(config);
  const context = tarOf({
    Dockerfile: 'FROM big:1\nFROM big:1\nLABEL a=b\nFROM big:1\nCOPY --from=1 / /\n',
  });
  const hold = await usualHold(async () => {
    expect(await load(body)).toContain('Loaded image: big:1');
    const built = await daemon.ask('POST', '/build?target=1', { body: context });
    expect(built.text).toContain('Successfully built');
  });
  expect(hold).toBeLessThan(mostHold);
});

test('one with more is not', async () => {
  expect(await load(archive({ config: { Labels: named(80_000) } }))).toContain(
    'its config has more than 70000 names',
  );
  expect(await load(archive({ author: 'x'.repeat(5 << 20) }))).toContain('more than 4 MiB');
  const list = tarOf({ 'manifest.json': bytes(Array(300_000).fill({})) });
  expect(await load(list)).toContain('its manifest.json has more than 140000 items');
});
