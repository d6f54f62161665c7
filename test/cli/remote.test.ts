/** The command against a daemon: what it does there is what it does in process. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

onStores('drydock --host', (store) => {
  const cli = new Cli();
  let daemon: TestDaemon;
  let registry: TestRegistry;
  const env = () => ({ DRYDOCK_HOST: daemon.host });
  const run = (...args: string[]) => cli.run(args, { env: env() });
  const ok = (...args: string[]) => cli.ok(args, { env: env() });

  beforeAll(async () => {
    registry = await startRegistry();
    daemon = await startTestDaemon({ ...store.options(), grpc: (host) => buildkitApi(host) });
  });
  afterAll(async () => {
    await daemon?.stop();
    await registry?.stop();
    cli.close();
  });

  test('builds our folder there, with the same progress and result', async () => {
    const dir = cli.files('app', {
      Dockerfile: 'FROM scratch\nARG WHO\nLABEL who=$WHO\nCOPY --from=extra e /e\nCOPY . /app/\n',
      a: 'A',
      '.dockerignore': 'b',
      b: 'B',
    });
    const extra = cli.files('extra', { e: 'E' });
    const named = `extra=${extra}`;
    const args = ['build', '-t', 'app', '--build-arg', 'WHO=me', '--build-context', named, '--metadata-file'];
    const { stderr } = await ok(...args, join(cli.dir, 'meta.json'), dir);
    expect(stderr).toMatch(/^#\d+ \[.*COPY \. \/app\/$/m);
    expect(stderr).toMatch(/^Built app:latest\n {2}digest {2}sha256:/m);
    const meta = JSON.parse(readFileSync(join(cli.dir, 'meta.json'), 'utf8'));
    expect(meta).toMatchObject({
      'containerimage.digest': expect.stringMatching(/^sha256:/),
      'image.name': 'docker.io/library/app:latest',
    });
    const again = await ok(
      'build',
      '--progress=plain',
      '-t',
      'app',
      '--build-arg',
      'WHO=me',
      '--build-context',
      named,
      dir,
    );
    expect(again.stderr).toContain('CACHED');
    // In the daemon's root and not in ours.
    expect(existsSync(cli.root)).toBe(false);
  });

  test('brings files and archives here', async () => {
    const dir = cli.files('out', { Dockerfile: 'FROM scratch\nCOPY a /x/a\n', a: 'A' });
    await ok('build', '-q', '-o', join(cli.dir, 'dest'), dir);
    expect(readFileSync(join(cli.dir, 'dest/x/a'), 'utf8')).toBe('A');
    await ok('build', '-q', '-o', `type=oci,dest=${join(cli.dir, 'image.tar')}`, dir);
    expect(readFileSync(join(cli.dir, 'image.tar')).includes('index.json')).toBe(true);
  });

  test('sends stdin, and a Dockerfile from elsewhere', async () => {
    const id = await cli.ok(['build', '-q', '-'], { env: env(), input: 'FROM scratch\nLABEL from=stdin\n' });
    expect(id.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    const dir = cli.files('other', { a: 'A' });
    const text = await cli.ok(['build', '-q', '-f', '-', '-t', 'text', dir], {
      env: env(),
      input: 'FROM scratch\nCOPY a /\n',
    });
    expect(text.stdout).toMatch(/^sha256:/);
    const file = cli.files('elsewhere', { 'My.Dockerfile': 'FROM scratch\nCOPY a /\n' });
    await ok('build', '-q', '-f', join(file, 'My.Dockerfile'), dir);
  });

  test('shows where in the Dockerfile it failed', async () => {
    const dir = cli.files('bad', { Dockerfile: 'FROM scratch\n\nCOPY missing /\n' });
    const { code, stderr } = await run('build', dir);
    expect(code).toBe(1);
    expect(stderr).toContain('   3 | >>> COPY missing /');
    expect(stderr).toContain('missing');
  });

  test('lists, inspects, tags, saves, loads and removes images there', async () => {
    const dir = cli.files('img', { Dockerfile: 'FROM scratch\nCOPY a /\n', a: 'img' });
    await ok('build', '-q', '-t', 'img:1', dir);
    await ok('tag', 'img:1', 'img:2');
    expect((await ok('images', 'img')).stdout).toMatch(/^img +1 +[0-9a-f]{12} +.*\nimg +2 /m);
    const [details] = JSON.parse((await ok('inspect', 'img:2')).stdout);
    expect(details.RepoTags).toContain('img:2');
    const tar = join(cli.dir, 'img.tar');
    await ok('save', '-o', tar, 'img:1');
    expect((await ok('rmi', 'img:1', 'img:2')).stdout).toMatch(/^Untagged: .*img:1\n/);
    expect((await ok('load', '-i', tar)).stdout).toBe('Loaded image: img:1\n');
    expect((await run('inspect', 'nosuch')).stderr.toLowerCase()).toContain('no such image');
  });

  test('pushes and pulls there', async () => {
    const dir = cli.files('push', { Dockerfile: 'FROM scratch\nCOPY a /\n', a: 'push' });
    const name = `${registry.host}/team/push:1`;
    await ok('build', '-q', '-t', name, dir);
    const pushed = await ok('push', name);
    const digest = /digest: (sha256:[0-9a-f]{64})/.exec(pushed.stdout)?.[1];
    expect(digest).toBeDefined();
    await ok('rmi', name);
    expect((await ok('pull', name)).stdout).toContain(`Digest: ${digest}\n`);
  });

  test('shows and prunes the cache there, and says which daemon that is', async () => {
    expect((await ok('du')).stdout).toMatch(/^ID +RECLAIMABLE/);
    expect((await ok('prune', '-a')).stdout).toMatch(/Total reclaimed space: /);
    expect((await ok('version')).stdout).toMatch(/^daemon .* \(API 1\.\d+, unix:\/\//m);
  });

  test('says so when no daemon is there, or it refuses', async () => {
    const { code, stderr } = await cli.run(['--host', 'unix:///nowhere.sock', 'images']);
    expect(code).toBe(1);
    expect(stderr).toContain('cannot reach the daemon at unix:///nowhere.sock (ENOENT)');
    const token = { ...env(), DRYDOCK_TOKEN: 'wrong' };
    const refused = await cli.run(['build', cli.files('refused', { Dockerfile: 'FROM scratch\n' })], {
      env: token,
    });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('the bearer token is not one this daemon knows');
  });
});
