/** The image endpoints, on each store, against the published shapes. */
import { createReadStream } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { imageOf, indexOf, putImage, tarOf } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onStores } from '../../kit/stores.ts';
import * as shapes from '../shapes.ts';

interface Summary {
  Id: string;
  RepoTags: string[];
  RepoDigests: string[];
  Size: number;
}
type Inspect = Summary & {
  Config: { Cmd: string[]; Env?: string[]; Labels?: Record<string, string> };
  Architecture: string;
};
type Line = Record<string, unknown> & { status?: string; stream?: string; error?: string };

const versions = ['1.24', '1.41', '1.43', '1.44', '1.47', '1.48', '1.49', '1.50', '1.51'];

onStores('image endpoints', (store) => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  /** `127.0.0.1:41234/app:1`, in the registry for two platforms. */
  let remote: string;
  const image = imageOf([tarOf({ one: 'first' }), tarOf({ two: 'second' })], {
    config: { Cmd: ['serve'], Labels: { team: 'a' } },
  });
  const other = imageOf([tarOf({ one: 'arm' })], {
    platform: { os: 'linux', architecture: 'arm64' },
    config: { Cmd: ['serve'] },
  });

  beforeAll(async () => {
    registry = await startRegistry();
    remote = await putImage(registry.host, 'app:1', indexOf([image, other]));
    daemon = await startTestDaemon(store.options());
  });
  afterAll(async () => {
    await daemon.stop();
    await registry.stop();
  });

  const ask: TestDaemon['ask'] = (...args) => daemon.ask(...args);
  const tar = tarOf({ etc: { dir: true }, 'etc/motd': 'hello' });
  const importAs = async (repo: string, changes: string[] = [], body: Buffer = tar) => {
    const query = new URLSearchParams([
      ['fromSrc', '-'],
      ['repo', repo],
      ...changes.map((change) => ['changes', change]),
    ]);
    const answer = await ask('POST', `/images/create?${query}`, { body });
    expect(answer.text).toMatch(/^\{"status":"sha256:[0-9a-f]{64}"\}\r\n$/);
    return answer.lines<{ status: string }>()[0]?.status ?? '';
  };
  const inspect = async (name: string) => (await ask('GET', `/images/${name}/json`)).json<Inspect>();
  const list = async () => (await ask('GET', '/images/json')).json<Summary[]>();

  describe('pull', () => {
    test('fetches an image and tells its layers, digest and outcome', async () => {
      const [repo, tag] = [`${registry.host}/app`, '1'];
      const answer = await ask('POST', `/v1.41/images/create?fromImage=${repo}&tag=${tag}`);
      expect(answer.status).toBe(200);
      const lines = answer.lines<Line>();
      expect(lines[0]).toEqual({ status: 'Pulling from app', id: tag });
      expect(lines.filter(({ status }) => status === 'Pull complete')).toHaveLength(
        new Set(lines.map(({ id }) => id)).size - 2,
      );
      expect(lines.slice(-2)).toEqual([
        { status: expect.stringMatching(/^Digest: sha256:[0-9a-f]{64}$/) },
        { status: `Status: Downloaded newer image for ${repo}:1` },
      ]);
      const again = await ask('POST', `/images/create?fromImage=${encodeURIComponent(remote)}`);
      expect(again.lines<Line>().at(-1)?.status).toBe(`Status: Image is up to date for ${remote}`);
    });

    test('of a platform gets that one', async () => {
      const answer = await ask('POST', `/images/create?fromImage=${remote}&platform=linux/arm64`);
      expect(answer.lines<Line>().at(-1)?.error).toBeUndefined();
      const arm = encodeURIComponent('{"os":"linux","architecture":"arm64"}');
      const inspected = await ask('GET', `/images/${remote}/json?platform=${arm}`);
      expect(inspected.json<Inspect>()).toMatchObject({ Id: other.configDigest, Architecture: 'arm64' });
      const s390x = encodeURIComponent('{"os":"linux","architecture":"s390x"}');
      const missing = await ask('GET', `/images/${remote}/json?platform=${s390x}`);
      expect(missing.status).toBe(404);
      expect(missing.text).toMatch(/no such image: .* for linux\/s390x\. Here it is for linux\/amd64/i);
    });

    test('of what the registry does not have is a 404 before anything is streamed', async () => {
      const answer = await ask('POST', `/images/create?fromImage=${registry.host}/app&tag=none`);
      expect(answer.status).toBe(404);
      expect(shapes.error(answer.json(), '')).toEqual([]);
      expect(answer.text).toContain(`${registry.host}/app:none`);
    });

    test('without a tag gets all of the repository', async () => {
      for (const tag of ['a', 'b']) await putImage(registry.host, `many:${tag}`, image);
      const answer = await ask('POST', `/images/create?fromImage=${registry.host}/many`);
      expect(answer.lines<Line>().at(-1)?.error).toBeUndefined();
      const tags = (await inspect(`${registry.host}/many:a`)).RepoTags;
      expect(tags).toEqual(expect.arrayContaining([`${registry.host}/many:a`, `${registry.host}/many:b`]));
      await ask('DELETE', `/images/${registry.host}/many:a`);
      await ask('DELETE', `/images/${registry.host}/many:b`);
    });

    test('without anything to pull or import is refused', async () => {
      expect(await ask('POST', '/images/create')).toMatchObject({ status: 400 });
      expect((await ask('POST', '/images/create?fromImage=UPPER')).text).toMatch(/must be lowercase/);
    });
  });

  describe('import', () => {
    test('makes an image of a tar, with the changes asked for', async () => {
      const id = await importAs('imported', ['CMD ["a","b"]', 'ENV X=1', 'LABEL l=m', 'ONBUILD RUN x']);
      const found = await inspect('imported');
      expect(await inspect('docker.io/library/imported:latest')).toEqual(found);
      expect(found).toMatchObject({ Id: id, RepoTags: ['imported:latest'] });
      expect(found.Config).toMatchObject({ Cmd: ['a', 'b'], Env: ['X=1'], Labels: { l: 'm' } });
    });

    test('takes the tar compressed, and twice', async () => {
      await importAs('zipped:1', [], gzipSync(tar));
      await importAs('zipped:2', [], gzipSync(tar));
      const [one, two] = [await inspect('zipped:1'), await inspect('zipped:2')];
      expect(one.Size).toBe(two.Size);
    });

    test('takes the tar from a URL', async () => {
      const server = createServer((_, response) => response.end(tar)).listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/root.tar?token=hidden`;
      const answer = await ask('POST', `/images/create?repo=fetched&fromSrc=${encodeURIComponent(url)}`);
      server.close();
      expect(answer.lines<Line>().at(-1)?.status).toBe((await inspect('fetched')).Id);
      expect(answer.text).not.toContain('hidden');
    });

    test('of what is no tar, or with other instructions, leaves nothing', async () => {
      const before = await list();
      const bad = await ask('POST', '/images/create?fromSrc=-&repo=bad', { body: Buffer.alloc(9000, 'x') });
      expect(bad.status).toBe(400);
      expect(bad.json<{ message: string }>().message).toMatch(/tar/);
      const cut = await ask('POST', '/images/create?fromSrc=-&repo=bad', { body: tar.subarray(0, 700) });
      expect(cut.status).toBe(400);
      for (const change of ['RUN x', 'FROM x', 'CMD a\nRUN b', 'NONSENSE']) {
        const answer = await ask(
          'POST',
          `/images/create?fromSrc=-&repo=bad&changes=${encodeURIComponent(change)}`,
          { body: tar },
        );
        expect(answer.status, change).toBe(400);
      }
      expect(await list()).toEqual(before);
    });
  });

  describe('list and inspect', () => {
    test.each(versions)('are as API %s has them', async (version) => {
      const answer = (await ask('GET', `/v${version}/images/json`)).json<Summary[]>();
      expect(answer.length).toBeGreaterThan(2);
      expect(answer.flatMap((each) => shapes.imageSummary(version)(each, ''))).toEqual([]);
      for (const { Id } of answer) {
        const one = await ask('GET', `/v${version}/images/${Id}/json`);
        expect(one.status).toBe(200);
        expect(shapes.imageInspect(version)(one.json(), '')).toEqual([]);
        expect(one.json<Inspect>().Id).toBe(Id);
      }
    });

    test('know an image by name, by ID, by the beginning of its ID and by digest', async () => {
      const { Id, RepoDigests } = await inspect(remote);
      expect((await list()).map((each) => each.Id)).toContain(Id);
      const names = [remote.replace('/', '%2F'), Id, Id.slice(7), Id.slice(7, 19), RepoDigests[0] ?? ''];
      for (const name of names) expect((await inspect(name)).Id, name).toBe(Id);
    });

    test('show the manifests when asked', async () => {
      const shown = await ask('GET', `/v1.50/images/${remote}/json?manifests=1`);
      expect(shapes.imageInspect('1.50')(shown.json(), '')).toEqual([]);
      expect(shown.json<{ Manifests: object[] }>().Manifests.length).toBeGreaterThan(0);
    });

    test('say `No such image` with a 404', async () => {
      for (const path of ['/images/nope/json', '/images/nope/history', '/images/nope/get']) {
        const answer = await ask('GET', path);
        expect(answer.status, path).toBe(404);
        expect(answer.json<{ message: string }>().message).toMatch(/^No such image: nope/);
      }
    });
  });

  test('history has the newest step first, with its ID and names', async () => {
    const { Id } = await inspect(remote);
    const answer = await ask('GET', `/images/${remote}/history`);
    expect(shapes.imageHistory(answer.json(), '')).toEqual([]);
    expect(answer.json<object[]>()).toMatchObject([
      { Id, Tags: [remote], CreatedBy: 'layer 1' },
      { Id: '<missing>', Tags: null, CreatedBy: 'layer 0' },
    ]);
  });

  describe('tag and delete', () => {
    test('give a name and take it away; the last one takes the image along', async () => {
      const id = await importAs('named:1', ['LABEL only=here']);
      expect(await ask('POST', '/images/named:1/tag?repo=other&tag=2')).toMatchObject({
        status: 201,
        text: '',
      });
      expect((await inspect('other:2')).RepoTags.sort()).toEqual(['named:1', 'other:2']);
      const first = await ask('DELETE', '/images/named:1?noprune=1');
      expect(first.json()).toEqual([{ Untagged: 'named:1' }]);
      const second = await ask('DELETE', '/images/other:2?force=1');
      expect(second.json()).toEqual([{ Untagged: 'other:2' }, { Deleted: id }]);
      expect(shapes.deleted(second.json(), '')).toEqual([]);
      const third = await ask('DELETE', '/images/other:2');
      expect(third.status).toBe(404);
      expect(third.text).toMatch(/No such image: other:2/);
    });

    test('want force for an ID with names in several repositories', async () => {
      const id = await importAs('here:1', ['LABEL many=names']);
      await ask('POST', '/images/here:1/tag?repo=there');
      const refused = await ask('DELETE', `/images/${id}`);
      expect(refused.status).toBe(409);
      expect(refused.text).toContain('there:latest');
      expect((await ask('DELETE', `/images/${id}?force=1`)).json<object[]>()).toHaveLength(3);
    });

    test('refuse names that are none', async () => {
      await importAs('fine');
      for (const query of ['', 'repo=UPPER', 'repo=a&tag=b%20c', `repo=a@sha256:${'0'.repeat(64)}`]) {
        expect((await ask('POST', `/images/fine/tag?${query}`)).status, query).toBe(400);
      }
    });
  });

  describe('save and load', () => {
    test('an archive loads again under its name', async () => {
      const id = await importAs('kept:1', ['LABEL kept=1']);
      const saved = await daemon.docker(['save', '-o', `${daemon.dir}/kept.tar`, 'kept:1']);
      expect(saved).toMatchObject({ code: 0 });
      await ask('DELETE', '/images/kept:1');
      const { readFileSync } = await import('node:fs');
      const loaded = await ask('POST', '/images/load?quiet=1', {
        body: readFileSync(`${daemon.dir}/kept.tar`),
      });
      expect(loaded.headers['content-type']).toBe('application/json');
      expect(loaded.lines()).toEqual([{ stream: 'Loaded image: kept:1\n' }]);
      expect((await inspect('kept:1')).Id).toBe(id);
    });

    test('a quiet load answers when the image is there, so that a client may go away at the status', async () => {
      await ask('DELETE', '/images/kept:1');
      const loaded = await new Promise<number | undefined>((resolve, reject) => {
        const request = httpRequest({
          socketPath: daemon.socket,
          path: '/images/load?quiet=1',
          method: 'POST',
        });
        request.once('response', (response) => {
          response.destroy();
          resolve(response.statusCode);
        });
        request.once('error', reject);
        createReadStream(`${daemon.dir}/kept.tar`).pipe(request);
      });
      expect(loaded).toBe(200);
      expect((await inspect('kept:1')).Config.Labels).toMatchObject({ kept: '1' });
    });

    test('several images share one archive', async () => {
      const answer = await ask('GET', `/images/get?names=kept:1&names=${remote}`);
      expect(answer.headers['content-type']).toBe('application/x-tar');
      expect(answer.text).toContain('manifest.json');
      expect(await ask('GET', '/images/get')).toMatchObject({ status: 400 });
    });

    test('a broken archive is refused and leaves nothing', async () => {
      const blobs = async () => {
        await daemon.engine.store.gc();
        return (await daemon.engine.store.content.list()).length;
      };
      const before = [await list(), await blobs()];
      for (const body of [tar, Buffer.from('x'.repeat(2000))]) {
        const answer = await ask('POST', '/images/load', { body });
        expect(answer.status).toBe(200);
        expect(answer.lines<Line>().at(-1)?.error).toMatch(
          /this is no image archive|reading the tar archive/,
        );
      }
      expect([await list(), await blobs()]).toEqual(before);
    });
  });

  describe('push', () => {
    test('sends an image and tells the digest, under which it can be looked up', async () => {
      await importAs(`${registry.host}/pushed:1`, ['LABEL pushed=1']);
      const answer = await ask('POST', `/images/${registry.host}/pushed/push?tag=1`, {
        headers: { 'x-registry-auth': Buffer.from('{}').toString('base64url') },
      });
      const lines = answer.lines<Line & { aux?: { Digest: string; Tag: string; Size: number } }>();
      expect(lines[0]).toEqual({ status: `The push refers to repository [${registry.host}/pushed]` });
      const aux = lines.at(-1)?.aux;
      expect(aux).toMatchObject({ Tag: '1', Size: expect.any(Number) });
      expect((await inspect(`${registry.host}/pushed:1`)).RepoDigests).toEqual([
        `${registry.host}/pushed@${aux?.Digest}`,
      ]);
      const looked = await ask('GET', `/distribution/${registry.host}/pushed:1/json`);
      expect(shapes.distribution(looked.json(), '')).toEqual([]);
      expect(looked.json()).toMatchObject({
        Descriptor: { digest: aux?.Digest },
        Platforms: [{ os: 'linux', architecture: image.config.architecture }],
      });
    });

    test('without a tag sends all of the repository', async () => {
      await ask('POST', `/images/${registry.host}/pushed:1/tag?repo=${registry.host}/pushed&tag=2`);
      const lines = (await ask('POST', `/images/${registry.host}/pushed/push`)).lines<Line>();
      const tags = lines.flatMap(({ aux }) => (aux === undefined ? [] : [(aux as { Tag: string }).Tag]));
      expect(tags).toEqual(['1', '2']);
      expect(lines.map(({ status }) => status)).toContain('Layer already exists');
    });

    test('of what is not here is a 404; what the registry says comes as the last object', async () => {
      const missing = await ask('POST', `/images/${registry.host}/none/push?tag=1`);
      expect(missing.status).toBe(404);
      expect(missing.text).toMatch(/does not exist locally with the tag/);
      await ask('POST', '/images/kept:1/tag?repo=127.0.0.1:1/x&tag=1');
      const answer = await ask('POST', '/images/127.0.0.1:1/x/push?tag=1');
      expect(answer.status).toBe(200);
      expect(answer.lines<Line>().at(-1)).toMatchObject({
        error: expect.stringContaining('127.0.0.1:1'),
        errorDetail: { message: expect.any(String) },
      });
    });
  });

  test('distribution lists the platforms of an index', async () => {
    const answer = await ask('GET', `/distribution/${remote}/json`);
    expect(shapes.distribution(answer.json(), '')).toEqual([]);
    expect(answer.json<{ Platforms: object[] }>().Platforms).toHaveLength(2);
    expect((await ask('GET', `/distribution/${registry.host}/none/json`)).status).toBe(404);
  });

  test('events tell what happened', async () => {
    const until = Date.now() / 1000;
    const answer = await ask('GET', `/events?since=0&until=${until}&filters={"type":["image"]}`);
    const events = answer.lines<{ Action: string }>();
    expect(events.flatMap((each) => shapes.event(each, ''))).toEqual([]);
    const actions = new Set(events.map(({ Action }) => Action));
    for (const action of ['pull', 'import', 'tag', 'untag', 'delete', 'save', 'load', 'push']) {
      expect(actions, action).toContain(action);
    }
  });

  test('prune takes the images that its filters mean', async () => {
    await importAs('young:1', ['LABEL keep=1']);
    const old = await ask(
      'POST',
      `/images/prune?filters={"dangling":["false"],"until":["24h"],"label":["keep"]}`,
    );
    expect(old.json()).toEqual({ ImagesDeleted: null, SpaceReclaimed: 0 });
    const id = await importAs('young:2', ['LABEL prune=1']);
    const pruned = await ask('POST', `/images/prune?filters={"dangling":["false"],"label":["prune"]}`);
    expect(shapes.imagesPruned(pruned.json(), '')).toEqual([]);
    expect(pruned.json()).toMatchObject({ ImagesDeleted: [{ Untagged: 'young:2' }, { Deleted: id }] });
    expect((await inspect('young:1')).RepoTags).toContain('young:1');
    expect((await ask('POST', '/images/prune?filters={"nonsense":["1"]}')).status).toBe(400);
  });
});
