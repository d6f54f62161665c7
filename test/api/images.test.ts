/** The image endpoints, by hand and through the docker CLIs of Debian (20.10) and of today (28). */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../src/sdk/build.ts';
import { closePool } from '../../src/workers/pool.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';

// The daemon is in this process: what asks it must not hold it up.
const run = promisify(execFile);
const clis = ['/usr/bin/docker', '/usr/local/bin/docker'].filter(existsSync);

let daemon: TestDaemon;
let registry: TestRegistry;
let id: string;

async function make(tags: string[], text = 'FROM scratch\nCOPY a /\nLABEL l=1\nENV X=y\n'): Promise<string> {
  const context = join(daemon.dir, 'context');
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, 'a'), 'some text');
  const { imageId } = await build({ context, dockerfileText: text, engine: daemon.engine, tags });
  return imageId as string;
}

beforeAll(async () => {
  daemon = await startTestDaemon();
  registry = await startRegistry();
  id = await make(['app:1', `${registry.host}/app:1`]);
});
afterAll(async () => {
  await daemon.stop();
  await registry.stop();
  await closePool();
});

describe('GET /images/{name}/json', () => {
  test('has an Id that the list has, names and digests, and what old and new clients look at', async () => {
    const list = (await daemon.ask('GET', '/v1.41/images/json')).json<{ Id: string }[]>();
    for (const name of ['app:1', 'app', id, id.slice(7, 19), `docker.io/library/app:1`]) {
      const asked = await daemon.ask('GET', `/v1.41/images/${name}/json`);
      if (name === 'app') {
        expect(asked.status).toBe(404);
        continue;
      }
      const image = asked.json();
      expect(list.map((each) => each.Id)).toContain(image.Id);
      expect(image).toMatchObject({
        Id: id,
        RepoTags: expect.arrayContaining(['app:1', `${registry.host}/app:1`]),
        RepoDigests: expect.arrayContaining([expect.stringMatching(/^app@sha256:[0-9a-f]{64}$/)]),
        Os: 'linux',
        Config: { Labels: { l: '1' }, Env: expect.arrayContaining(['X=y']) },
        RootFS: { Type: 'layers', Layers: [expect.stringMatching(/^sha256:/)] },
        VirtualSize: expect.any(Number),
      });
      expect(image.Descriptor).toBeUndefined();
    }
    const now = (await daemon.ask('GET', '/images/app:1/json')).json();
    expect(now.VirtualSize).toBeUndefined();
    expect(now.Descriptor).toMatchObject({ digest: expect.stringMatching(/^sha256:/) });
  });

  test('says in docker’s words that there is none', async () => {
    const { status, text } = await daemon.ask('GET', '/v1.24/images/nope:1/json');
    expect(status).toBe(404);
    expect(JSON.parse(text).message).toMatch(/^No such image: nope:1/);
  });
});

test('GET /images/{name}/history: newest first', async () => {
  const history = (await daemon.ask('GET', '/images/app:1/history')).json<Record<string, unknown>[]>();
  expect(history.map((entry) => entry.CreatedBy)).toEqual(['ENV X=y', 'LABEL l=1', 'COPY a / # buildkit']);
  expect(history[0]).toMatchObject({ Id: id, Size: 0, Created: expect.any(Number) });
  expect(history[2]).toMatchObject({ Id: '<missing>', Size: expect.any(Number) });
  expect(history[2]?.Size).toBeGreaterThan(0);
});

describe('names', () => {
  test('are given, taken and told as events', async () => {
    const since = Date.now() / 1000 - 1;
    expect((await daemon.ask('POST', '/images/app:1/tag?repo=other&tag=2')).status).toBe(201);
    expect((await daemon.ask('POST', '/images/app:1/tag')).status).toBe(400);
    const removed = (await daemon.ask('DELETE', '/images/other:2?noprune=1')).json<object[]>();
    expect(removed).toEqual([{ Untagged: 'other:2' }]);
    expect((await daemon.ask('DELETE', '/images/other:2')).status).toBe(404);
    const until = Date.now() / 1000 + 0.1;
    const events = (await daemon.ask('GET', `/events?since=${since}&until=${until}`)).lines();
    expect(events.map((event) => event.Action)).toEqual(['tag', 'untag']);
  });

  test('the last one takes the image along', async () => {
    const gone = await make(['gone:1'], 'FROM scratch\nCOPY a /gone\n');
    expect((await daemon.ask('DELETE', '/images/gone:1')).json<object[]>()).toEqual([
      { Untagged: 'gone:1' },
      { Deleted: gone },
    ]);
    expect((await daemon.ask('GET', `/images/${gone}/json`)).status).toBe(404);
  });

  test('images without one are pruned', async () => {
    const nameless = await make([], 'FROM scratch\nCOPY a /nameless\n');
    const pruned = (await daemon.ask('POST', '/images/prune')).json<{ ImagesDeleted: object[] }>();
    expect(pruned.ImagesDeleted).toEqual([{ Deleted: nameless }]);
    expect((await daemon.ask('POST', '/images/prune')).json()).toEqual({
      ImagesDeleted: null,
      SpaceReclaimed: 0,
    });
  });
});

describe('registries', () => {
  test('push, distribution and pull', async () => {
    const name = `${registry.host}/app`;
    const pushed = (await daemon.ask('POST', `/images/${name}/push?tag=1`)).lines();
    const digest = (pushed.at(-1)!.aux as { Digest: string }).Digest;
    expect(pushed[0]).toEqual({ status: `The push refers to repository [${name}]` });
    expect(pushed.at(-2)?.status).toContain(`1: digest: ${digest} size:`);
    const looked = await daemon.ask('GET', `/distribution/${name}:1/json`);
    expect(looked.json()).toMatchObject({
      Descriptor: { digest, mediaType: expect.stringContaining('manifest') },
      Platforms: [{ os: 'linux' }],
    });
    await daemon.ask('DELETE', `/images/${name}:1`);
    const pulled = (await daemon.ask('POST', `/images/create?fromImage=${name}&tag=1`)).lines();
    expect(pulled[0]).toEqual({ status: `Pulling from ${name}`, id: '1' });
    expect(pulled.slice(-2)).toEqual([
      { status: `Digest: ${digest}` },
      { status: `Status: Downloaded newer image for ${name}:1` },
    ]);
  });

  test('what is not there is an error before the stream starts, with the registry’s words', async () => {
    const { status, text } = await daemon.ask('POST', `/images/create?fromImage=${registry.host}/nope&tag=1`);
    expect(status).toBe(404);
    expect(JSON.parse(text).message).toMatch(/nope.*(unknown|not found)/);
    const push = await daemon.ask('POST', `/images/${registry.host}/nope/push?tag=1`);
    expect(push.status).toBe(404);
    expect(push.text).toMatch(/No such image/);
  });
});

describe('archives', () => {
  test('are saved, loaded and imported', async () => {
    const file = join(daemon.dir, 'saved.tar');
    await run('curl', ['-sf', '--unix-socket', daemon.socket, '-o', file, 'http://d/images/get?names=app:1']);
    await daemon.ask('DELETE', '/images/app:1');
    const loaded = await daemon.ask('POST', '/images/load', { body: readFileSync(file) });
    expect(loaded.lines().at(-1)).toEqual({ stream: 'Loaded image: app:1\n' });
    expect((await daemon.ask('GET', '/images/app:1/json')).json().Id).toBe(id);
    const tree = execFileSync('tar', ['cz', '-C', daemon.dir, 'context']);
    const imported = await daemon.ask('POST', '/images/create?fromSrc=-&repo=imp&tag=1', { body: tree });
    expect(imported.lines()[0]?.status).toMatch(/^sha256:/);
    const child = await make(['child'], 'FROM imp:1\nCOPY --from=imp:1 /context/a /b\n');
    expect((await daemon.ask('GET', `/images/${child}/json`)).json().RootFS).toMatchObject({
      Layers: { length: 2 },
    });
  });

  test('that are none are refused, and leave nothing', async () => {
    const before = (await daemon.engine.store.content.list()).length;
    const load = await daemon.ask('POST', '/images/load', { body: Buffer.from('x'.repeat(2000)) });
    expect(load.status).toBeGreaterThanOrEqual(400);
    const bad = await daemon.ask('POST', '/images/create?fromSrc=-&repo=bad', {
      body: Buffer.alloc(2000, 7),
    });
    expect(bad.status).toBeGreaterThanOrEqual(400);
    expect((await daemon.ask('GET', '/images/bad/json')).status).toBe(404);
    await daemon.engine.store.gc();
    expect((await daemon.engine.store.content.list()).length).toBe(before);
    expect((await daemon.ask('GET', '/images/nope/get')).status).toBe(404);
  });
});

test('what runs containers is not here, and says so', async () => {
  for (const [method, path] of [
    ['POST', '/v1.41/containers/create'],
    ['POST', '/exec/x/start'],
    ['POST', '/networks/create'],
    ['POST', '/v1.30/swarm/init'],
  ] as const) {
    const { status, text } = await daemon.ask(method, path);
    expect([status, JSON.parse(text).message]).toEqual([
      501,
      expect.stringContaining('does not run containers'),
    ]);
  }
  expect((await daemon.ask('GET', '/images/search?term=x')).status).toBe(501);
  expect((await daemon.ask('GET', '/nowhere')).status).toBe(404);
  // Clients look for containers of a name, and tidy up; that there are none is no error.
  expect((await daemon.ask('GET', '/containers/json')).json()).toEqual([]);
  expect((await daemon.ask('GET', '/containers/app/json')).status).toBe(404);
  expect((await daemon.docker(['inspect', '--format', '{{.Id}}', 'app:1'])).stdout).toBe(`${id}\n`);
  expect((await daemon.docker(['system', 'prune', '-f'])).code).toBe(0);
});

test('POST /build/prune', async () => {
  const pruned = (await daemon.ask('POST', '/build/prune?all=1')).json<{ CachesDeleted: string[] }>();
  expect(pruned.CachesDeleted.length).toBeGreaterThan(0);
  expect((await daemon.ask('POST', '/build/prune?filters={"until":["soon"]}')).status).toBe(400);
});

describe.each(clis)('%s', (cli) => {
  const docker = async (...args: string[]) => {
    const result = await daemon.docker(args, { cli });
    expect(result, args.join(' ')).toMatchObject({ code: 0 });
    return result.stdout;
  };

  test('lists, inspects, names and removes', async () => {
    expect(await docker('images', '--format', '{{.Repository}}:{{.Tag}}')).toContain('app:1');
    expect(await docker('image', 'inspect', '--format', '{{.Id}}', 'app:1')).toBe(`${id}\n`);
    expect(await docker('history', '--format', '{{.CreatedBy}}', '--no-trunc', 'app:1')).toContain(
      'COPY a /',
    );
    await docker('tag', 'app:1', 'cli:1');
    expect(await docker('rmi', 'cli:1')).toBe('Untagged: cli:1\n');
    expect(await docker('system', 'df')).toContain('Build Cache');
    expect(await docker('image', 'prune', '-f')).toContain('Total reclaimed space');
    expect(await docker('builder', 'prune', '-f')).toContain('Total');
  });

  test('pushes, pulls, saves, loads and imports', async () => {
    const name = `${registry.host}/cli:1`;
    await docker('tag', 'app:1', name);
    expect(await docker('push', name)).toContain('digest: sha256:');
    await docker('rmi', name);
    expect(await docker('pull', name)).toContain('Downloaded newer image');
    const file = join(daemon.dir, 'cli.tar');
    await docker('save', '-o', file, name);
    await docker('rmi', name);
    expect(await docker('load', '-i', file)).toContain(`Loaded image: ${name}`);
    const tree = join(daemon.dir, 'tree.tar');
    execFileSync('tar', ['cf', tree, '-C', daemon.dir, 'context']);
    expect(await docker('import', tree, 'cli-import:1')).toMatch(/^sha256:/);
  });

  test('is told why containers do not run here', async () => {
    const { code, stderr } = await daemon.docker(['run', '--rm', 'app:1', 'true'], { cli });
    expect(code).not.toBe(0);
    expect(stderr).toContain('does not run containers');
  });
});

test('dockerode lists, inspects, tags, pulls and removes', async () => {
  const docker = new Docker({ socketPath: daemon.socket });
  expect((await docker.listImages()).map((image) => image.Id)).toContain(id);
  expect((await docker.getImage('app:1').inspect()).Id).toBe(id);
  await docker.getImage('app:1').tag({ repo: 'rode', tag: '1' });
  await docker.getImage('rode:1').remove();
  await expect(docker.getImage('rode:1').inspect()).rejects.toMatchObject({ statusCode: 404 });
  await new Promise<void>((resolve, reject) => {
    docker.pull(`${registry.host}/app:1`, (err: Error | null, stream: NodeJS.ReadableStream) => {
      if (err) reject(err);
      else docker.modem.followProgress(stream, (failed) => (failed ? reject(failed) : resolve()));
    });
  });
});
