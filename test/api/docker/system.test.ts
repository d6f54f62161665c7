/** What describes the daemon and its cache: versions, info, disk usage, events, pruning; what it does not do. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { keepBytes } from '../../../src/api/docker/routes/build-prune.ts';
import { build } from '../../../src/sdk/build.ts';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { onStores } from '../../kit/stores.ts';
import * as shapes from '../shapes.ts';

/** What 1.52 and later tell of one kind of thing. */
interface Kind {
  ActiveCount: number;
  TotalCount: number;
  Items?: { Id: string }[];
}

const kinds = ['BuildCacheUsage', 'ContainerUsage', 'ImageUsage', 'VolumeUsage'];

interface Usage {
  LayersSize: number;
  Images: { Id: string; Size: number; SharedSize: number }[];
  BuildCache: { ID: string; Size: number; Type: string }[];
}

onStores('system endpoints', (store) => {
  let daemon: TestDaemon;
  const make = async (tag: string, text: string) => {
    const context = join(daemon.dir, tag);
    mkdirSync(context, { recursive: true });
    writeFileSync(join(context, 'file'), `of ${tag}`);
    return build({
      context,
      dockerfileText: `FROM scratch\nCOPY file /\n${text}`,
      engine: daemon.engine,
      tags: [tag],
    });
  };
  const usage = async (query = '') => (await daemon.ask('GET', `/v1.51/system/df${query}`)).json<Usage>();

  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
    await make('one', 'LABEL n=1\n');
    await make('two', 'COPY file /again\n');
  });
  afterAll(() => daemon.stop());

  describe('versions', () => {
    test('the ping says in its headers what a client has to know', async () => {
      for (const method of ['HEAD', 'GET']) {
        const { status, headers, text } = await daemon.ask(method, '/_ping');
        expect(status).toBe(200);
        expect(headers).toMatchObject({
          'api-version': '1.56',
          ostype: 'linux',
          'builder-version': '2',
          swarm: 'inactive',
          'cache-control': 'no-cache, no-store, must-revalidate',
        });
        expect(text).toBe(method === 'GET' ? 'OK' : '');
      }
    });

    test('an operator may want newer clients', async () => {
      const other = await startTestDaemon({ minApiVersion: '1.44' });
      try {
        const old = await other.ask('GET', '/v1.43/info');
        expect([old.status, old.text]).toEqual([
          400,
          expect.stringContaining('Minimum supported API version is 1.44'),
        ]);
        for (const path of ['/v1.44/info', '/info']) expect((await other.ask('GET', path)).status).toBe(200);
        expect((await other.ask('GET', '/version')).json()).toMatchObject({ MinAPIVersion: '1.44' });
        const upgrade = { connection: 'upgrade', upgrade: 'h2c' };
        expect((await other.ask('POST', '/v1.43/session', { headers: upgrade })).status).toBe(400);
      } finally {
        await other.stop();
      }
    });

    test('paths answer with and without a version; one that is not spoken is a 400', async () => {
      for (const path of ['/version', '/v1.24/version', '/v1.41/version', '/v1.56/version']) {
        expect(shapes.version((await daemon.ask('GET', path)).json(), '')).toEqual([]);
      }
      for (const [version, words] of [
        ['1.23', 'too old. Minimum supported API version is 1.24'],
        ['1.99', 'too new. Maximum supported API version is 1.56'],
      ]) {
        const answer = await daemon.ask('GET', `/v${version}/version`);
        expect(answer.status).toBe(400);
        expect(shapes.error(answer.json(), '')).toEqual([]);
        expect(answer.text).toContain(`client version ${version} is ${words}`);
      }
    });
  });

  test('info tells the stores apart', async () => {
    const { DriverStatus, Images, Containers } = (await daemon.ask('GET', '/info')).json<{
      DriverStatus: [string, string][];
      Images: number;
      Containers: number;
    }>();
    const type = ['driver-type', 'io.containerd.snapshotter.v1'];
    if (store.kind === 'containerd') expect(DriverStatus).toEqual([type]);
    else expect(DriverStatus).not.toContainEqual(type);
    expect([Images, Containers]).toEqual([2, 0]);
  });

  test('info tells of registries and of the log, as dockerd does', async () => {
    const other = await startTestDaemon({
      logLevel: 'info',
      insecureRegistries: ['192.168.1.0/24', 'reg.example:5000'],
      registryMirrors: { 'docker.io': ['https://192.168.1.2', 'mirror.example:5000'] },
    });
    try {
      const info = (await other.ask('GET', '/info')).json();
      const mirrors = ['https://192.168.1.2/', 'https://mirror.example:5000/'];
      expect(info).toMatchObject({
        Debug: false,
        RegistryConfig: {
          InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8', '192.168.1.0/24'],
          IndexConfigs: {
            'docker.io': { Name: 'docker.io', Mirrors: mirrors, Secure: true, Official: true },
            'reg.example:5000': { Name: 'reg.example:5000', Mirrors: [], Secure: false, Official: false },
          },
          Mirrors: mirrors,
        },
      });
      const { Debug, NFd } = (await daemon.ask('GET', '/info')).json<{ Debug: boolean; NFd: number }>();
      expect(Debug).toBe(true);
      expect(NFd).toBeGreaterThan(3);
    } finally {
      await other.stop();
    }
  });

  describe('disk usage', () => {
    test.each(['1.41', '1.42', '1.44', '1.50', '1.51'])('is as API %s has it', async (version) => {
      const answer = (await daemon.ask('GET', `/v${version}/system/df`)).json<Usage>();
      expect(shapes.diskUsage(version)(answer, '')).toEqual([]);
      expect(answer.Images).toHaveLength(2);
      expect(answer.BuildCache.length).toBeGreaterThan(0);
      expect(answer.LayersSize).toBeGreaterThan(0);
    });

    test('since 1.52 has a sum of each kind, and the things themselves when asked', async () => {
      const at = async (path: string) => (await daemon.ask('GET', path)).json<Record<string, Kind>>();
      const old = await usage();
      const sums = await at('/v1.53/system/df');
      expect(Object.keys(sums).sort()).toEqual(kinds);
      expect(sums.ImageUsage).toEqual({
        ActiveCount: 0,
        TotalCount: 2,
        TotalSize: old.LayersSize,
        Reclaimable: old.LayersSize,
      });
      expect(sums.BuildCacheUsage).toMatchObject({ TotalCount: old.BuildCache.length, ActiveCount: 0 });
      expect(sums.VolumeUsage).toEqual({ ActiveCount: 0, TotalCount: 0, TotalSize: 0, Reclaimable: 0 });
      const full = await at('/v1.53/system/df?verbose=1&type=image&type=build-cache');
      expect(Object.keys(full).sort()).toEqual(['BuildCacheUsage', 'ImageUsage']);
      expect(full.ImageUsage?.Items?.map(({ Id }) => Id)).toEqual(old.Images.map(({ Id }) => Id));
      expect(full.BuildCacheUsage?.Items).toEqual(old.BuildCache);
      // 1.52 has both forms, unless it is asked for the new one.
      expect(Object.keys(await at('/v1.52/system/df')).sort()).toEqual(
        [...Object.keys(old), ...kinds].sort(),
      );
      expect(Object.keys(await at('/v1.52/system/df?verbose=1')).sort()).toEqual(kinds);
      expect(Object.keys(await at('/v1.51/system/df?verbose=1')).sort()).toEqual(Object.keys(old).sort());
    });

    test('is told by type', async () => {
      expect(Object.keys(await usage('?type=image')).sort()).toEqual(['Images', 'LayersSize']);
      expect(Object.keys(await usage('?type=container&type=volume')).sort()).toEqual([
        'Containers',
        'Volumes',
      ]);
      expect((await daemon.ask('GET', '/system/df?type=nonsense')).status).toBe(400);
    });
  });

  describe('build/prune', () => {
    const prune = async (query: string) =>
      (await daemon.ask('POST', `/build/prune?${query}`)).json<{
        CachesDeleted: string[] | null;
        SpaceReclaimed: number;
      }>();

    test('takes what its filters and limits mean', async () => {
      const before = await usage('?type=build-cache');
      const none = { CachesDeleted: null, SpaceReclaimed: 0 };
      expect(await prune('all=1&filters={"until":["24h"]}')).toEqual(none);
      expect(await prune('all=1&keep-storage=1000000000')).toEqual(none);
      expect(await prune('all=1&reserved-space=1000000000&max-used-space=1')).toEqual(none);
      expect(await prune('all=1&filters={"description":["nothing%20like%20it"]}')).toEqual(none);
      expect(await prune('all=1&filters={"inuse":["true"]}')).toEqual(none);
      expect(await prune('all=1&filters={"id":["ffffff"]}')).toEqual(none);
      expect(await usage('?type=build-cache')).toEqual(before);
      const [first] = before.BuildCache;
      const one = await prune(
        `all=1&filters=${encodeURIComponent(JSON.stringify({ id: { [first?.ID ?? '']: true } }))}`,
      );
      expect(shapes.buildPruned(one, '')).toEqual([]);
      expect(one.CachesDeleted).toEqual([first?.ID]);
      expect((await prune('all=1')).CachesDeleted).toHaveLength(before.BuildCache.length - 1);
      expect((await usage('?type=build-cache')).BuildCache).toEqual([]);
      expect((await usage('?type=image')).Images).toHaveLength(2);
    });

    test('as a stream names what is gone, and ends with the report', async () => {
      await make('three', 'COPY file /third\n');
      const path = '/build/prune?all=1&stream=1&filters={"description~":["third"]}';
      const answer = await daemon.ask('POST', `/v1.56${path}`);
      expect(answer.headers['content-type']).toBe('application/jsonl');
      const lines = answer.lines<{ id?: string; status?: string; aux?: { CachesDeleted: string[] } }>();
      const report = lines.pop()?.aux;
      expect(report?.CachesDeleted.length).toBeGreaterThan(0);
      expect(lines).toEqual(report?.CachesDeleted.map((id) => ({ id, status: 'Deleted' })));
      const empty = await daemon.ask('POST', '/v1.56/containers/prune?stream=1');
      expect(empty.lines()).toEqual([{ aux: { ContainersDeleted: null, SpaceReclaimed: 0 } }]);
      expect((await daemon.ask('POST', `/v1.55${path}`)).json()).toEqual({
        CachesDeleted: null,
        SpaceReclaimed: 0,
      });
      const image = await daemon.ask('POST', '/v1.56/images/prune?stream=1&filters={"label":["n=3"]}');
      expect(image.lines()).toEqual([{ aux: { ImagesDeleted: null, SpaceReclaimed: 0 } }]);
      await daemon.ask('DELETE', '/images/three');
    });

    test.each([
      'filters={"nonsense":["1"]}',
      'filters={"type":["nonsense"]}',
      'keep-storage=x',
      'reserved-space=-1',
    ])('refuses %s', async (query) => {
      expect((await daemon.ask('POST', `/build/prune?${query}`)).status).toBe(400);
    });
  });

  test('events stream until their end, and tell of pruning', async () => {
    const answer = await daemon.ask(
      'GET',
      `/events?since=0&until=${Date.now() / 1000}&filters={"type":["builder"]}`,
    );
    const events = answer.lines();
    expect(events.flatMap((event) => shapes.event(event, ''))).toEqual([]);
    expect(events.at(-1)).toMatchObject({ Type: 'builder', Action: 'prune' });
    const stream = await new Docker({ socketPath: daemon.socket }).getEvents({ filters: { event: ['tag'] } });
    const told = new Promise<string>((resolve) => stream.once('data', (data) => resolve(String(data))));
    await daemon.ask('POST', '/images/one/tag?repo=three');
    expect(JSON.parse(await told)).toMatchObject({
      Action: 'tag',
      Actor: { Attributes: { name: 'three:latest' } },
    });
    (stream as unknown as { destroy(): void }).destroy();
  });

  test('events come in the form that a client asks for', async () => {
    const until = (Date.now() + 1) / 1000;
    const asked = async (version: string, accept?: string) => {
      const path = `/v${version}/events?since=0&until=${until}&filters={"event":["tag"]}`;
      return daemon.ask('GET', path, accept === undefined ? {} : { headers: { accept } });
    };
    const [plain, old] = await Promise.all([asked('1.52'), asked('1.51', 'application/json-seq')]);
    expect(plain.headers['content-type']).toBe('application/json');
    expect(old.headers['content-type']).toBe('application/json');
    const [event] = plain.lines();
    expect(event).toMatchObject({ Type: 'image', Action: 'tag' });
    expect(event).not.toHaveProperty('status');
    expect(old.lines()[0]).toMatchObject({ status: 'tag', ...event });
    const sequence = await asked('1.52', 'text/html, application/json-seq;q=0.9');
    expect(sequence.headers['content-type']).toBe('application/json-seq');
    expect(sequence.text).toBe(plain.text.replace(/^/gm, '\x1e').replace(/\x1e$/, ''));
    for (const [version, type] of [
      ['1.53', 'application/jsonl'],
      ['1.52', 'application/x-ndjson'],
    ] as const) {
      const lines = await asked(version, type);
      expect([lines.headers['content-type'], lines.text]).toEqual([type, plain.text]);
    }
    expect((await asked('1.52', 'application/jsonl')).headers['content-type']).toBe('application/json');
  });

  describe('the container runtime', () => {
    test.each([
      ['POST', '/v1.41/containers/create'],
      ['POST', '/containers/x/start'],
      ['GET', '/containers/x/logs'],
      ['DELETE', '/containers/x'],
      ['POST', '/commit?container=x'],
      ['POST', '/exec/x/start'],
      ['POST', '/networks/create'],
      ['POST', '/volumes/create'],
      ['GET', '/swarm'],
      ['GET', '/services'],
    ])('%s %s is a 501 that says why', async (method, path) => {
      const answer = await daemon.ask(method, path, method === 'POST' ? { body: {} } : {});
      expect(answer.status).toBe(501);
      expect(answer.headers['content-type']).toBe('application/json');
      expect(answer.json<{ message: string }>().message).toMatch(
        /^Drydock builds images and does not run containers/,
      );
    });

    test('has nothing to list, to find and to prune', async () => {
      const get = async (path: string) => (await daemon.ask('GET', path)).json();
      expect(await get('/containers/json?all=1')).toEqual([]);
      expect(await get('/volumes')).toEqual({ Volumes: [], Warnings: null });
      for (const path of ['/containers/one/json', '/networks/one', '/volumes/one', '/plugins/one/json']) {
        expect((await daemon.ask('GET', path)).status, path).toBe(404);
      }
      for (const path of ['/containers/prune', '/networks/prune', '/volumes/prune']) {
        expect((await daemon.ask('POST', path)).status, path).toBe(200);
      }
    });
  });

  test('networks are those that build steps have; a client in a container finds the machine by its gateway', async () => {
    interface Network {
      Id: string;
      Name: string;
      IPAM: { Config: { Gateway: string }[] };
    }
    const get = async (path: string) => (await daemon.ask('GET', path)).json<Network[]>();
    const listed = await get('/networks');
    expect(listed.map(({ Name }) => Name)).toEqual(['bridge', 'host', 'none']);
    expect(await get('/networks?filters={"driver":["null"]}')).toEqual([listed[2]]);
    expect(await get('/networks?filters={"type":["custom"]}')).toEqual([]);
    const bridge = (await daemon.ask('GET', '/v1.41/networks/bridge')).json<Network>();
    expect(bridge).toEqual(listed[0]);
    const { hostAddress, subnets } = await daemon.engine.network.look();
    expect(bridge.IPAM.Config).toEqual([{ Subnet: subnets[0], Gateway: hostAddress }]);
    expect((await daemon.ask('GET', `/networks/${bridge.Id.slice(0, 12)}`)).json()).toEqual(bridge);
  });

  test('the search of registries is refused, and an unknown path is not found', async () => {
    const search = await daemon.ask('GET', '/images/search?term=x');
    expect(search.status).toBe(501);
    expect(search.text).toContain('does not search registries');
    const unknown = await daemon.ask('GET', '/nowhere');
    expect(unknown.status).toBe(404);
    expect(unknown.json()).toEqual({ message: 'page not found' });
  });
});

describe('what the cache may keep', () => {
  const kept = (limits: Partial<Parameters<typeof keepBytes>[0]>, total: number, available: number) =>
    keepBytes({ reserved: 0, most: 0, free: 0, ...limits }, total, available);

  test('is what is reserved for it', () => expect(kept({ reserved: 30 }, 100, 5)).toBe(30));
  test('is no more than the most it may use', () => {
    expect(kept({ most: 40 }, 100, 5)).toBe(40);
    expect(kept({ most: 40, reserved: 50 }, 100, 5)).toBe(50);
  });
  test('is less where the disk wants space, but not below what is reserved', () => {
    expect(kept({ free: 25 }, 100, 5)).toBe(80);
    expect(kept({ free: 25 }, 100, 50)).toBe(100);
    expect(kept({ free: 200 }, 100, 5)).toBe(0);
    expect(kept({ free: 200, reserved: 10 }, 100, 5)).toBe(10);
    expect(kept({ free: 25, most: 30 }, 100, 5)).toBe(30);
  });
});
