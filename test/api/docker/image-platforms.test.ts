/** One platform of several: listed, inspected, saved, loaded, pushed and removed alone. Each test runs on both stores. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Index } from '../../../src/oci/types.ts';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { imageOf, indexOf, putImage, tarOf } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onStores } from '../../kit/stores.ts';

interface Listed {
  Id: string;
  RepoTags: string[];
  RepoDigests: string[];
  Manifests: { ImageData: { Platform: { architecture: string } } }[];
}
type Line = { error?: string; stream?: string; aux?: { Digest: string } };

const arm = encodeURIComponent('{"os":"linux","architecture":"arm64"}');
const s390x = encodeURIComponent('{"os":"linux","architecture":"s390x"}');

onStores('one platform of an image', (store) => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  const ours = imageOf([tarOf({ one: 'first' })]);
  const theirs = imageOf([tarOf({ two: 'other' })], { platform: { os: 'linux', architecture: 'arm64' } });
  let both: string;
  beforeAll(async () => {
    registry = await startRegistry();
    daemon = await startTestDaemon(store.options());
    both = await putImage(registry.host, 'both:1', indexOf([ours, theirs]));
  });
  afterAll(async () => {
    await daemon.stop();
    await registry.stop();
  });

  const ask: TestDaemon['ask'] = (...args) => daemon.ask(...args);
  const pull = (name: string) =>
    ask('POST', `/images/create?fromImage=${encodeURIComponent(name)}&allPlatforms=1`);
  const list = async (query = '') => (await ask('GET', `/images/json?manifests=1${query}`)).json<Listed[]>();
  const architectures = async (name: string) => {
    const filters = encodeURIComponent(JSON.stringify({ reference: [name] }));
    const found = await list(`&filters=${filters}`);
    return found.flatMap(({ Manifests }) =>
      Manifests.map(({ ImageData }) => ImageData.Platform.architecture),
    );
  };

  test('an image and one that has it among others are two entries, each with its own digest', async () => {
    const single = await putImage(registry.host, 'both:2', ours);
    await pull(both);
    await pull(single);
    const found = await list();
    expect(found.map(({ RepoTags }) => RepoTags).sort()).toEqual([[both], [single]]);
    expect(new Set(found.map(({ Id }) => Id))).toEqual(new Set([ours.configDigest]));
    for (const { RepoTags, RepoDigests, Manifests } of found) {
      const image = RepoTags[0] === single ? ours : indexOf([ours, theirs]);
      expect(RepoDigests).toEqual([`${registry.host}/both@${image.manifest.digest}`]);
      expect(Manifests).toHaveLength(RepoTags[0] === single ? 1 : 2);
    }
    expect((await ask('GET', '/info')).json()).toMatchObject({ Images: 2 });
    await ask('DELETE', `/images/${single}`);
  });

  test('inspect describes the manifest of the platform', async () => {
    const answer = await ask('GET', `/v1.50/images/${both}/json?platform=${arm}`);
    expect(answer.json()).toMatchObject({
      Id: theirs.configDigest,
      Descriptor: { digest: theirs.manifest.digest, platform: { os: 'linux', architecture: 'arm64' } },
    });
    const conflict = await ask('GET', `/v1.50/images/${both}/json?platform=${arm}&manifests=1`);
    expect(conflict.status).toBe(400);
    expect(conflict.text).toMatch(/manifests and platform options cannot both be set/);
  });

  test('save has that platform alone; several, or one that is not here, are refused', async () => {
    const name = 'saved:1';
    await ask('POST', `/images/${both}/tag?repo=saved&tag=1`);
    const tar = async (query: string) => {
      const answer = await fetchBytes(daemon, `/v1.48/images/${name}/get${query}`);
      expect(answer.status).toBe(200);
      return answer.body;
    };
    const archive = await tar(`?platform=${arm}`);
    await ask('DELETE', `/images/${name}`);
    const loaded = await ask('POST', '/images/load', { body: archive });
    expect(loaded.lines()).toEqual([{ stream: 'Loaded image: saved:1\n' }]);
    expect((await ask('GET', `/images/${name}/json`)).json()).toMatchObject({
      Id: theirs.configDigest,
      Architecture: 'arm64',
    });
    await ask('DELETE', `/images/${name}`);
    const two = await ask('GET', `/v1.48/images/${both}/get?platform=${arm}&platform=${s390x}`);
    expect(two.status).toBe(400);
    expect(two.text).toMatch(/multiple platform parameters not supported/);
    const none = await ask('GET', `/v1.48/images/${both}/get?platform=${s390x}`);
    expect(none.status).toBe(404);
    expect(none.text).toMatch(
      /No such image: .* for linux\/s390x. Here it is for linux\/amd64, linux\/arm64/,
    );
  });

  test('load takes that platform; of an archive without it the error says so', async () => {
    await ask('POST', `/images/${both}/tag?repo=loaded&tag=1`);
    const { body } = await fetchBytes(daemon, '/v1.48/images/loaded:1/get');
    await ask('DELETE', '/images/loaded:1');
    await ask('DELETE', `/images/${both}`);
    const some = await ask('POST', `/v1.48/images/load?platform=${arm}`, { body });
    expect(some.lines()).toEqual([{ stream: 'Loaded image: loaded:1\n' }]);
    expect(await architectures('loaded')).toEqual(['arm64']);
    await ask('DELETE', '/images/loaded:1');
    const none = await ask('POST', `/v1.48/images/load?platform=${s390x}`, { body });
    expect(none.status).toBe(200);
    expect(none.lines<Line>().at(-1)?.error).toMatch(
      /image loaded:1 was loaded, but doesn't provide the requested platform \(linux\/s390x\)/,
    );
    expect(await architectures('loaded')).toEqual(['amd64', 'arm64']);
    await ask('DELETE', '/images/loaded:1');
    await pull(both);
  });

  test('save and load take several platforms since 1.52', async () => {
    const third = imageOf([tarOf({ three: 'third' })], { platform: { os: 'linux', architecture: 's390x' } });
    const all = await putImage(registry.host, 'three:1', indexOf([ours, theirs, third]));
    await pull(all);
    const two = `platform=${s390x}&platform=${arm}`;
    expect((await ask('GET', `/v1.51/images/${all}/get?${two}`)).status).toBe(400);
    const { status, body } = await fetchBytes(daemon, `/v1.52/images/${all}/get?${two}`);
    expect(status).toBe(200);
    const whole = await fetchBytes(daemon, `/v1.52/images/${all}/get`);
    await ask('DELETE', `/images/${all}`);
    expect((await ask('POST', '/images/load', { body })).lines()).toEqual([
      { stream: `Loaded image: ${all}\n` },
    ]);
    expect((await architectures(all)).sort()).toEqual(['arm64', 's390x']);
    expect((await ask('GET', `/v1.52/images/${all}/get?platform=linux/amd64&platform=${arm}`)).status).toBe(
      404,
    );
    await ask('DELETE', `/images/${all}`);
    const some = await ask('POST', `/v1.52/images/load?platform=linux/amd64&platform=${arm}`, {
      body: whole.body,
    });
    expect(some.lines()).toEqual([{ stream: `Loaded image: ${all}\n` }]);
    expect((await architectures(all)).sort()).toEqual(['amd64', 'arm64']);
    await ask('DELETE', `/images/${all}`);
    const lacking = await ask('POST', `/v1.52/images/load?platform=linux/386&platform=${arm}`, {
      body: whole.body,
    });
    expect(lacking.lines<Line>().at(-1)?.error).toContain(
      "doesn't provide the requested platform (linux/386)",
    );
    await ask('DELETE', `/images/${all}`);
  });

  test('the identity is the repositories that it is from', async () => {
    await pull(both);
    const Identity = { Pull: expect.arrayContaining([{ Repository: `${registry.host}/both` }]) };
    expect((await ask('GET', `/v1.53/images/${both}/json`)).json()).toMatchObject({ Identity });
    expect((await ask('GET', `/v1.52/images/${both}/json`)).json()).not.toHaveProperty('Identity');
    const all = (await ask('GET', '/v1.54/images/json?identity=1')).json<Listed[]>();
    const listed = all.find(({ RepoTags }) => RepoTags.includes(both));
    expect(listed?.Manifests.map(({ ImageData }) => ImageData)).toMatchObject([{ Identity }, { Identity }]);
    const [plain] = (await ask('GET', '/v1.53/images/json?identity=1')).json<Listed[]>();
    expect(plain).not.toHaveProperty('Manifests');
  });

  test('push sends that platform alone, and the image stays as it is', async () => {
    const target = `${registry.host}/pushed:1`;
    await ask('POST', `/images/${both}/tag?repo=${registry.host}/pushed&tag=1`);
    const answer = await ask('POST', `/v1.46/images/${registry.host}/pushed/push?tag=1&platform=${arm}`);
    const digest = answer.lines<Line>().at(-1)?.aux?.Digest;
    expect(digest).toBe(theirs.manifest.digest);
    const there = await ask('GET', `/distribution/${target}/json`);
    expect(there.json()).toMatchObject({
      Descriptor: { digest },
      Platforms: [{ os: 'linux', architecture: 'arm64' }],
    });
    expect(await architectures(target)).toEqual(['amd64', 'arm64']);
    const none = await ask('POST', `/v1.46/images/${registry.host}/pushed/push?tag=1&platform=${s390x}`);
    expect(none.status).toBe(404);
    await ask('DELETE', `/images/${target}`);
  });

  test('delete takes it only by force, and leaves the others', async () => {
    const refused = await ask('DELETE', `/v1.50/images/${both}?platforms=${arm}`);
    expect(refused.status).toBe(400);
    expect(refused.text).toMatch(/Content will be removed from all images referencing this variant/);
    expect(await architectures(both)).toEqual(['amd64', 'arm64']);
    const missing = await ask('DELETE', `/v1.50/images/${both}?force=1&platforms=${arm}&platforms=${s390x}`);
    expect(missing.status).toBe(404);
    expect(await architectures(both)).toEqual(['amd64', 'arm64']);
    const gone = await ask('DELETE', `/v1.50/images/${both}?force=1&platforms=${arm}`);
    expect(gone.json()).toEqual([{ Deleted: theirs.manifest.digest }]);
    expect(await architectures(both)).toEqual(['amd64']);
    const index = JSON.parse(
      (await daemon.engine.store.content.bytes(indexOf([ours, theirs]).manifest.digest)).toString(),
    ) as Index;
    expect(index.manifests).toHaveLength(2);
    for (const { digest } of theirs.layers)
      expect(await daemon.engine.store.content.info(digest)).toBeUndefined();
    const last = await ask(
      'DELETE',
      `/v1.50/images/${both}?force=1&platforms=${encodeURIComponent('{"os":"linux","architecture":"amd64"}')}`,
    );
    expect(last.json()).toEqual([{ Untagged: both }, { Deleted: ours.manifest.digest }]);
    expect(await list()).toEqual([]);
  });

  test('an older API version knows no platforms there: the image goes', async () => {
    await pull(both);
    expect((await ask('DELETE', `/v1.49/images/${both}?platforms=${arm}`)).json<object[]>()).toContainEqual({
      Untagged: both,
    });
    expect((await ask('DELETE', '/images/%20')).text).toMatch(/image name cannot be blank/);
  });
});

/** An answer's bytes. */
async function fetchBytes(daemon: TestDaemon, path: string): Promise<{ status: number; body: Buffer }> {
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    request({ socketPath: daemon.socket, path, headers: { host: 'docker' } }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) }));
    })
      .on('error', reject)
      .end();
  });
}
