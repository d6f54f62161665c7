/** Answers about images, field by field as dockerd gives them, and the events that builds tell. On both stores. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestDaemon } from '../../kit/daemon.ts';
import { imageOf, type TestFile, tarOf } from '../../kit/images.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit } from '../buildkit/control-kit.ts';

interface Event {
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
}

onStores('answers about images', (store) => {
  let kit: ControlKit;
  let daemon: TestDaemon;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
    daemon = kit.daemon;
  });
  afterAll(() => daemon.stop());

  const ask: TestDaemon['ask'] = (...args) => daemon.ask(...args);
  const importAs = async (query: string, body = tarOf({ f: 'file' })) =>
    (await ask('POST', `/images/create?fromSrc=-&${query}`, { body })).lines<{ status: string }>()[0]?.status;
  /** Loads an image whose layers are compressed, so that its digest is known. */
  const load = async (name: string) => {
    const image = imageOf([tarOf({ f: name })]);
    const files: Record<string, TestFile> = { 'oci-layout': '{"imageLayoutVersion":"1.0.0"}' };
    for (const [digest, data] of image.blobs) files[`blobs/${digest.replace(':', '/')}`] = data;
    const annotations = { 'io.containerd.image.name': `docker.io/library/${name}` };
    files['index.json'] = JSON.stringify({
      schemaVersion: 2,
      manifests: [{ ...image.manifest, annotations }],
    });
    await ask('POST', '/images/load', { body: tarOf(files) });
  };
  const list = async (filters: object) => {
    const query = encodeURIComponent(JSON.stringify(filters));
    return (await ask('GET', `/images/json?filters=${query}`)).json<object[]>();
  };
  /** What happened while something was done. */
  const eventsOf = async (work: () => Promise<unknown>) => {
    const since = Date.now() / 1000;
    await work();
    const query = `since=${since}&until=${Date.now() / 1000 + 0.01}&filters={"type":["image"]}`;
    const events = (await ask('GET', `/events?${query}`)).lines<Event>();
    return events.map(({ Action, Actor }) => [Action, Actor.Attributes.name, Actor.Attributes.team]);
  };

  test('a list by reference has the tags and digests of that repository alone', async () => {
    await load('one:1');
    for (const name of ['other&tag=1', 'third/app&tag=2']) {
      await ask('POST', `/images/one:1/tag?repo=${name}`);
    }
    const all = await list({});
    expect(all).toMatchObject([{ RepoTags: ['one:1', 'other:1', 'third/app:2'] }]);
    const digest = expect.stringMatching(/^other@sha256:/);
    for (const reference of ['other', 'other:1', 'oth*', 'docker.io/library/other:1']) {
      expect(await list({ reference: [reference] }), reference).toMatchObject([
        { RepoTags: ['other:1'], RepoDigests: [digest] },
      ]);
    }
    expect(await list({ reference: ['other:2'] })).toEqual([]);
  });

  test.each(['1.24', '1.49', '1.50'])(
    'inspect of API %s has the fields that say nothing, too',
    async (version) => {
      await importAs('repo=bare');
      const { Config, ...rest } = (await ask('GET', `/v${version}/images/bare/json`)).json<{
        Config: object;
        DockerVersion: string;
      }>();
      expect(rest.DockerVersion).toBe('');
      const always = { Cmd: null, Entrypoint: null, Env: null, Labels: null, OnBuild: null };
      expect(Config).toMatchObject({ ...always, User: '', Volumes: null, WorkingDir: '' });
      const old = ['Hostname', 'Domainname', 'AttachStdin', 'Tty', 'Image'];
      for (const field of old) expect(Object.hasOwn(Config, field), field).toBe(version !== '1.50');
      await importAs(
        `repo=full&changes=${encodeURIComponent('LABEL a=b')}&changes=${encodeURIComponent('USER me')}`,
      );
      const full = (await ask('GET', `/v${version}/images/full/json`)).json<{ Config: object }>();
      expect(full.Config).toMatchObject({ Labels: { a: 'b' }, User: 'me', Cmd: null });
    },
  );

  test('the identity of a built image is its build in the history', async () => {
    await ask('POST', '/build?version=2&t=mine', { body: 'FROM scratch\nLABEL a=mine\n' });
    const Identity = {
      Build: [{ Ref: expect.stringMatching(/^[\w-]{20,}$/), CreatedAt: expect.stringMatching(/^20\d\d-/) }],
    };
    const shown = (await ask('GET', '/v1.53/images/mine/json')).json<{ Identity: object }>();
    expect(shown.Identity).toEqual(Identity);
  });

  test('inspect since 1.52 leaves out what says nothing', async () => {
    await importAs('repo=bare');
    const bare = (await ask('GET', '/v1.52/images/bare/json')).json<{ Config: object }>();
    expect(bare.Config).toEqual({});
    for (const field of ['Parent', 'DockerVersion', 'Author']) expect(bare).not.toHaveProperty(field);
    await importAs(`repo=full&message=why&changes=${encodeURIComponent('USER me')}`);
    const full = (await ask('GET', '/v1.52/images/full/json')).json();
    expect(full).toMatchObject({ Config: { User: 'me' }, Comment: 'why' });
    const [listed] = (await ask('GET', '/v1.51/images/json')).json<{ Containers: number }[]>();
    expect(listed?.Containers).toBe(0);
    expect((await ask('GET', '/v1.50/images/json')).json<{ Containers: number }[]>()[0]?.Containers).toBe(-1);
  });

  test('info has fields of its version alone', async () => {
    const info = async (version: string) =>
      (await ask('GET', `/v${version}/info`)).json<Record<string, unknown>>();
    expect(await info('1.50')).not.toHaveProperty('BridgeNfIptables');
    expect(await info('1.50')).toMatchObject({ LoggingDriver: 'none', Images: expect.any(Number) });
    expect(await info('1.49')).toMatchObject({ BridgeNfIptables: false, BridgeNfIp6tables: false });
    expect(await info('1.24')).toMatchObject({ SecurityOptions: ['seccomp'] });
    expect(await info('1.45')).not.toHaveProperty('Containerd');
  });

  test.each(['1', '2'])(
    'a build with version %s tells of its image and its names, with labels',
    async (version) => {
      const body = tarOf({ Dockerfile: `FROM scratch\nCOPY f /f\nLABEL team=a v=${version}\n`, f: version });
      const events = await eventsOf(() => ask('POST', `/build?version=${version}&t=told&t=told:2`, { body }));
      expect(events).toEqual([
        ['create', expect.stringMatching(/^sha256:/), 'a'],
        ['tag', 'told:latest', 'a'],
        ['tag', 'told:2', 'a'],
      ]);
    },
  );

  test('so does a build over BuildKit’s API; tag, import and load tell labels too', async () => {
    const dir = kit.folder({ Dockerfile: 'FROM scratch\nCOPY f /f\nLABEL team=b\n', f: 'solved' });
    const Exporters = [{ Type: 'moby', Attrs: { name: 'docker.io/library/solved:latest' } }];
    const request = { Frontend: 'dockerfile.v0', Exporters };
    expect(await eventsOf(() => kit.solve(request, { dirs: { context: dir, dockerfile: dir } }))).toEqual([
      ['create', expect.stringMatching(/^sha256:/), 'b'],
      ['tag', 'solved:latest', 'b'],
    ]);
    expect(await eventsOf(() => ask('POST', '/images/solved/tag?repo=again'))).toEqual([
      ['tag', 'again:latest', 'b'],
    ]);
    const change = encodeURIComponent('LABEL team=c');
    expect(await eventsOf(() => importAs(`repo=brought&changes=${change}`))).toEqual([
      ['import', expect.stringMatching(/^sha256:/), 'c'],
      ['tag', 'brought:latest', 'c'],
    ]);
  });

  test('save by a digest gives no name; the config has its image’s time in our own store', async () => {
    await load('dated:1');
    const { RepoDigests, Created } = (await ask('GET', '/images/dated:1/json')).json<{
      RepoDigests: string[];
      Created: string;
    }>();
    const saved = async (name: string) => {
      const file = `${daemon.dir}/saved.tar`;
      await promisify(execFile)('curl', [
        ...['-sf', '--unix-socket', daemon.socket, '-o', file],
        `http://docker/images/get?names=${encodeURIComponent(name)}`,
      ]);
      const read = async (path: string) =>
        JSON.parse((await promisify(execFile)('tar', ['-xOf', file, path])).stdout);
      const [{ Config, RepoTags }] = await read('manifest.json');
      const listed = await promisify(execFile)('tar', ['-tvf', file, '--full-time', '--utc', Config]);
      const { manifests } = await read('index.json');
      return { RepoTags, annotations: manifests[0].annotations, listed: listed.stdout };
    };
    const named = await saved('dated:1');
    expect(named.RepoTags).toEqual(['dated:1']);
    const second = Created.slice(0, 19).replace('T', ' ');
    expect(named.listed).toContain(store.kind === 'local' ? second : '1970-01-01 00:00:00');
    const digest = await saved(RepoDigests[0] as string);
    expect(digest).toMatchObject({ RepoTags: [], annotations: undefined });
  });

  test('OPTIONS is a yes; a session that cannot be says why', async () => {
    for (const path of ['/', '/v1.41/images/json', '/anything']) {
      expect((await ask('OPTIONS', path)).status, path).toBe(200);
    }
    const session = async (headers: Record<string, string>) => {
      const { status, text } = await ask('POST', '/session', { headers });
      return [status, text];
    };
    expect(await session({})).toEqual([400, expect.stringContaining('no upgrade proto in request')]);
    expect(await session({ upgrade: 'foo' })).toEqual([
      400,
      expect.stringContaining('protocol foo not supported'),
    ]);
    expect(await session({ upgrade: 'h2c' })).toEqual([
      400,
      expect.stringContaining('no Connection: Upgrade'),
    ]);
    const refused = await session({ upgrade: 'foo', connection: 'Upgrade' });
    expect(refused).toEqual([400, expect.stringContaining('protocol foo not supported')]);
  });

  test('a body of no bytes is imported as an empty image', async () => {
    const id = await importAs('repo=empty', Buffer.alloc(0));
    expect(id).toMatch(/^sha256:/);
    expect((await ask('GET', '/images/empty/json')).json()).toMatchObject({ Id: id });
    const answer = await daemon.docker(['build', '-q', '-'], {
      input: 'FROM empty\nLABEL a=b\n',
      env: { DOCKER_BUILDKIT: '0' },
    });
    expect(answer).toMatchObject({ code: 0 });
  });
});
