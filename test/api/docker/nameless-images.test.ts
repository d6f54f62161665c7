/** An image that loses its last name is kept as `<none>` until it is pruned, whatever took the name. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { TestDaemon } from '../../kit/daemon.ts';
import { imageOf, putImage, tarOf } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit } from '../buildkit/control-kit.ts';

interface Listed {
  Id: string;
  RepoTags: string[];
  RepoDigests: string[];
}

onStores('images without a name', (store) => {
  let kit: ControlKit;
  let daemon: TestDaemon;
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    kit = await ControlKit.start(store.options());
    daemon = kit.daemon;
  });
  afterAll(async () => {
    await daemon.stop();
    await registry.stop();
  });
  beforeEach(async () => {
    await daemon.ask('POST', '/images/prune?filters={"dangling":["false"]}');
  });

  let serial = 0;
  /** Builds an image that no other build gives. */
  const build = async (query: string) => {
    const body = tarOf({ Dockerfile: 'FROM scratch\nCOPY f /f\n', f: `content ${++serial}` });
    const answer = await daemon.ask('POST', `/build?${query}`, { body });
    const last = answer.lines<{ aux?: { ID?: string } }>().findLast(({ aux }) => aux?.ID !== undefined);
    return last?.aux?.ID ?? answer.text;
  };
  const importAs = async (repo: string) => {
    const body = tarOf({ f: `imported ${++serial}` });
    const answer = await daemon.ask('POST', `/images/create?fromSrc=-&repo=${repo}`, { body });
    return answer.lines<{ status: string }>()[0]?.status ?? '';
  };
  const list = async (filters = {}) => {
    const query = encodeURIComponent(JSON.stringify(filters));
    return (await daemon.ask('GET', `/images/json?filters=${query}`)).json<Listed[]>();
  };
  const nameless = async () => (await list({ dangling: ['true'] })).map(({ Id }) => Id);
  const names = async () => (await list({ dangling: ['false'] })).flatMap(({ RepoTags }) => RepoTags);
  const status = async (name: string) => (await daemon.ask('GET', `/images/${name}/json`)).status;
  const saved = async (name: string) => {
    const answer = await daemon.docker(['save', '-o', `${daemon.dir}/saved.tar`, name]);
    expect(answer).toMatchObject({ code: 0 });
    const { readFileSync } = await import('node:fs');
    return readFileSync(`${daemon.dir}/saved.tar`);
  };

  test.each(['1', '2'])('a rebuild with version %s keeps the image that had the name', async (version) => {
    const old = await build(`version=${version}&t=a`);
    const fresh = await build(`version=${version}&t=a`);
    expect(fresh).not.toBe(old);
    expect(await nameless()).toEqual([old]);
    expect(await list({ dangling: ['true'] })).toMatchObject([{ RepoTags: [], RepoDigests: [] }]);
    expect(await status(old)).toBe(200);
    const pruned = await daemon.ask('POST', '/images/prune');
    expect(pruned.json()).toMatchObject({ ImagesDeleted: [{ Deleted: old }] });
    expect(await status(old)).toBe(404);
    expect(await names()).toEqual(['a:latest']);
  });

  test('so do tag, load, import and pull', async () => {
    const first = await build('t=a');
    const other = await build('t=b');
    await daemon.ask('POST', '/images/b/tag?repo=a');
    expect(await nameless()).toEqual([first]);
    await daemon.ask('POST', '/images/prune');

    const archive = await saved('a');
    const third = await build('t=a');
    await daemon.ask('POST', '/images/load', { body: archive });
    expect(await nameless()).toEqual([third]);
    await daemon.ask('POST', '/images/prune');

    const fourth = await importAs('c');
    await importAs('c');
    expect(await nameless()).toEqual([fourth]);
    await daemon.ask('POST', '/images/prune');

    const remote = `${registry.host}/app:1`;
    const fifth = await importAs(encodeURIComponent(remote));
    await putImage(registry.host, 'app:1', imageOf([tarOf({ f: `pushed ${++serial}` })]));
    await daemon.ask('POST', `/images/create?fromImage=${encodeURIComponent(remote)}`);
    expect(await nameless()).toEqual([fifth]);
    expect(await status(other)).toBe(200);
  });

  test('an image that has another name, or is built again, is not kept twice', async () => {
    const first = await build('t=a&t=b');
    await build('t=a');
    expect(await nameless()).toEqual([]);
    expect(await status(first)).toBe(200);
    const body = tarOf({ Dockerfile: 'FROM scratch\nCOPY f /f\n', f: 'the same' });
    for (const version of ['1', '2', '1'])
      await daemon.ask('POST', `/build?t=c&version=${version}`, { body });
    expect(await nameless()).toEqual([]);
  });

  test('many builds of one name at a time lose none', async () => {
    const ids = await Promise.all([1, 2, 3, 4, 5].map(() => build('t=a')));
    const all = (await list()).map(({ Id }) => Id);
    expect(all.sort()).toEqual([...ids].sort());
    expect(await nameless()).toHaveLength(4);
  });

  test('a name given to it makes it an ordinary one; its last name takes it along', async () => {
    const id = await build('');
    expect(await nameless()).toEqual([id]);
    await daemon.ask('POST', `/images/${id}/tag?repo=named`);
    expect(await nameless()).toEqual([]);
    const removed = await daemon.ask('DELETE', '/images/named');
    expect(removed.json()).toEqual([{ Untagged: 'named:latest' }, { Deleted: id }]);
    expect(await list()).toEqual([]);
  });

  test('over BuildKit’s API dockerd’s output keeps it, and BuildKit’s own does not', async () => {
    const solve = async (Type: string) => {
      const dir = kit.folder({ Dockerfile: 'FROM scratch\nCOPY f /f\n', f: `solved ${++serial}` });
      const Exporters = [{ Type, Attrs: { name: 'docker.io/library/a:latest' } }];
      const dirs = { context: dir, dockerfile: dir };
      const { response } = await kit.solve({ Frontend: 'dockerfile.v0', Exporters }, { dirs });
      return response['containerimage.config.digest'];
    };
    const old = await solve('moby');
    await solve('moby');
    expect(await nameless()).toEqual([old]);
    await daemon.ask('POST', '/images/prune');
    await solve('image');
    expect(await nameless()).toEqual([]);
  });

  test('a name that reads like an ID is refused', async () => {
    const id = await build('t=a');
    const refused = await daemon.ask('POST', '/images/a/tag?repo=sha256&tag=x');
    expect(refused.status).toBe(400);
    expect(refused.text).toContain('refusing to create an ambiguous tag using digest algorithm as name');
    expect((await daemon.ask('POST', '/build?t=sha256:x', { body: tarOf({}) })).status).toBe(400);
    expect(await status(id)).toBe(200);
    expect(await names()).toEqual(['a:latest']);
  });
});
