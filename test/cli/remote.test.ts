/** The command against a daemon: what it does there is what it does in process. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import type { Descriptor, Digest } from '../../src/oci/types.ts';
import { addProgram, busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startServer } from '../kit/http-server.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onLocal } from '../kit/stores.ts';

onLocal('drydock --host', (store) => {
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
    expect(stderr).toMatch(
      /^Built app:latest\n {2}digest {2}sha256:\w{64}\n {2}image {3}sha256:\w{64}\n {2}size {4}\d.*B$/m,
    );
    const meta = JSON.parse(readFileSync(join(cli.dir, 'meta.json'), 'utf8'));
    expect(Object.keys(meta)).not.toContain('drydock.image.size');
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
    // In the daemon's root; in ours is only where its folders are, for `drydock debug BUILD`.
    expect(readdirSync(cli.root)).toEqual(['folders.jsonl']);
  });

  test('a failure there is told as one here: the last lines, the step, what .dockerignore leaves out', async () => {
    const root = cli.files('failing', {
      Dockerfile: 'FROM scratch\nCOPY root /\nRUN echo first; echo last; exit 3\n',
      'Lost.dockerfile': 'FROM scratch\nCOPY sub/a.js /\n',
      '.dockerignore': '*.md\n**/*.js\n!keep.js\n',
      'sub/a.js': 'a',
    });
    busyboxRoot(join(root, 'root'));
    const { code, stderr } = await run('build', root);
    expect(code).toBe(1);
    expect(stderr).toMatch(/\n------\n > \[2\/2\] RUN echo first.*:\nfirst\nlast\n------\nDockerfile:3\n/);
    expect(stderr).toMatch(/ERROR: failed to solve: process .* exit code: 3\n$/);
    const lost = await run('build', '-f', join(root, 'Lost.dockerfile'), root);
    expect(lost.stderr).toMatch(/"\/sub\/a\.js": not found\n {2}at step: \[1\/1\] COPY sub\/a\.js \/\n/);
    expect(lost.stderr).toContain(
      'hint: If sub/a.js is there, .dockerignore excludes it by its line **/*.js.',
    );
  });

  test('brings files and archives here', async () => {
    const dir = cli.files('out', { Dockerfile: 'FROM scratch\nCOPY a /x/a\n', a: 'A' });
    await ok('build', '-q', '-o', join(cli.dir, 'dest'), dir);
    expect(readFileSync(join(cli.dir, 'dest/x/a'), 'utf8')).toBe('A');
    await ok('build', '-q', '-o', `type=oci,dest=${join(cli.dir, 'image.tar')}`, dir);
    expect(readFileSync(join(cli.dir, 'image.tar')).includes('index.json')).toBe(true);
  });

  test('writes an image here as a folder, named, and builds from it', async () => {
    const dest = join(cli.dir, 'layout');
    const dir = cli.files('to-layout', { Dockerfile: 'FROM scratch\nCOPY a /x/a\n', a: 'in a layout' });
    for (const tag of ['folder:1', 'folder:2', 'folder:1']) {
      await ok('build', '-q', '-t', tag, '-o', `type=oci,tar=false,dest=${dest}`, dir);
    }
    const { manifests } = JSON.parse(readFileSync(join(dest, 'index.json'), 'utf8'));
    const tags = manifests.map((each: Descriptor) => each.annotations?.['org.opencontainers.image.ref.name']);
    expect(tags.toSorted()).toEqual(['1', '2']);
    const from = cli.files('from-layout', { Dockerfile: 'FROM base\n' });
    const named = `base=oci-layout://${dest}:2`;
    await ok('build', '-q', '--build-context', named, '-o', join(cli.dir, 'from'), from);
    expect(readFileSync(join(cli.dir, 'from/x/a'), 'utf8')).toBe('in a layout');
    const docker = await run('build', '-o', `type=docker,tar=false,dest=${dest}`, dir);
    expect(docker.stderr).toContain("does not write docker's archives as folders");
  });

  test('--cache-to and --cache-from: a folder of ours, a registry, an image', async () => {
    const dir = cli.files('caches', { Dockerfile: `FROM scratch\nCOPY a /\nCOPY b /\n`, a: 'A', b: 'B' });
    const folder = `type=local,dest=${join(cli.dir, 'cache')},mode=max`;
    const elsewhere = `type=registry,ref=${registry.host}/caches:here`;
    const inImage = ['--cache-to', 'type=inline', '-t', `${registry.host}/caches:image`, '--push'];
    await ok('build', '--cache-to', folder, '--cache-to', elsewhere, ...inImage, dir);
    const from = [
      `type=local,src=${join(cli.dir, 'cache')}`,
      `${registry.host}/caches:here`,
      `${registry.host}/caches:image`,
    ];
    for (const cache of from) {
      await ok('prune', '--all', '--force');
      const { stderr } = await ok('build', '--progress=plain', '--cache-from', cache, dir);
      expect(stderr).toMatch(/^#\d+ importing cache manifest from /m);
      expect(stderr.match(/^#\d+ CACHED$/gm)).toHaveLength(2);
    }
    const broken = await ok('build', '--progress=plain', '--cache-from', '127.0.0.1:1/none', dir);
    expect(broken.stderr).toContain('the build goes on without it');
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

  test('takes a Dockerfile from a web server', async () => {
    const server = await startServer((_, response) => response.end('FROM scratch\nCOPY f /f\n'));
    try {
      const dir = cli.files('of-url', { f: 'ours', Dockerfile: 'FROM nothing\n' });
      const dest = join(cli.dir, 'of-url-out');
      await ok('build', '-q', '-f', `http://${server.host}/x`, '-o', dest, dir);
      expect(readFileSync(join(dest, 'f'), 'utf8')).toBe('ours');
    } finally {
      await server.stop();
    }
  });

  test('shows where in the Dockerfile it failed', async () => {
    const dir = cli.files('bad', { Dockerfile: 'FROM scratch\n\nCOPY missing /\n' });
    const { code, stderr } = await run('build', dir);
    expect(code).toBe(1);
    expect(stderr).toContain('   3 | >>> COPY missing /');
    expect(stderr).toContain('missing');
  });

  test('--check gives the findings that it gives in process', async () => {
    const dir = cli.files('check', { Dockerfile: 'FROM scratch as a\nMAINTAINER me\n' });
    const [here, there] = [await cli.run(['build', '--check', dir]), await run('build', '--check', dir)];
    expect([there.code, there.stdout]).toEqual([here.code, here.stdout]);
    expect(there.stdout).toContain('Check complete, 2 warnings have been found!');
    expect(there.stdout).toContain('   1 | >>> FROM scratch as a');
    const clean = await run('build', '--check', cli.files('clean', { Dockerfile: 'FROM scratch\n' }));
    expect([clean.code, clean.stdout]).toEqual([0, 'Check complete, no warnings found.\n']);
    const broken = cli.files('broken', { Dockerfile: 'FROM scratch\n\nRUNN x\n' });
    const failed = await run('build', '--check', broken);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain('unknown instruction: RUNN');
    expect(failed.stderr).toContain('   3 | >>> RUNN x');
  });

  test('what was found in a Dockerfile that fails is told, too', async () => {
    const parts = ['FROM scratch as a\nRUNN x\n', '# check=error=true\nFROM scratch as a\nLABEL a=b\n'];
    for (const [i, text] of parts.entries()) {
      const dir = cli.files(`found-${i}`, { Dockerfile: text });
      for (const failed of [await cli.run(['build', dir]), await run('build', dir)]) {
        expect(failed.code).toBe(1);
        expect(failed.stderr).toMatch(/ 1 warning found .*\n - FromAsCasing: .* \(line \d\)\n[\s\S]*ERROR: /);
      }
    }
  });

  test('reads an OCI layout of ours, by tag and by digest', async () => {
    const made = cli.files('lay-src', {
      Dockerfile: 'FROM scratch\nCOPY a /from-layout\n',
      a: 'in the layout',
    });
    const layout = join(cli.dir, 'lay');
    await cli.ok(['build', '-q', '-t', 'lay:v7', '-o', `type=oci,tar=false,dest=${layout}`, made]);
    const dir = cli.files('lay-use', { Dockerfile: 'FROM base\nCOPY --from=other from-layout /copied\n' });
    const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
    const { digest } = index.manifests[0];
    for (const ref of [`${layout}:v7`, `${layout}@${digest}`]) {
      const contexts = [`base=oci-layout://${ref}`, `other=oci-layout://${ref}`];
      const dest = join(cli.dir, `lay-out-${ref.length}`);
      await ok('build', '-q', '-o', dest, ...contexts.flatMap((each) => ['--build-context', each]), dir);
      expect(readFileSync(join(dest, 'from-layout'), 'utf8')).toBe('in the layout');
      expect(readFileSync(join(dest, 'copied'), 'utf8')).toBe('in the layout');
    }
    const { code, stderr } = await run('build', '--build-context', `base=oci-layout://${layout}:v8`, dir);
    expect([code, stderr]).toEqual([1, expect.stringContaining('there is no image tagged v8')]);
  });

  test('gives secrets and ssh agents to steps there', async () => {
    const base = cli.files('tools', { Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin\n' });
    busyboxRoot(join(base, 'root'));
    addProgram('/usr/bin/ssh-add', join(base, 'root'));
    await ok('build', '-q', '-t', 'tools', base);
    const key = join(cli.files('ssh', {}), 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'the test key', '-f', key]);
    const secrets = cli.files('secrets', { f: 'from a file' });
    const dir = cli.files('asks', {
      Dockerfile: `FROM tools
RUN --mount=type=secret,id=f cat /run/secrets/f > /f
RUN --mount=type=secret,id=e,env=E echo $E > /e
RUN --mount=type=ssh,required ssh-add -l > /keys
`,
    });
    const flags = [
      '--secret',
      `id=f,src=${secrets}/f`,
      '--secret',
      'id=e,env=MINE',
      '--ssh',
      `default=${key}`,
    ];
    const dest = join(cli.dir, 'asked');
    await cli.ok(['build', '-q', '-o', dest, ...flags, dir], { env: { ...env(), MINE: 'mine' } });
    expect(readFileSync(join(dest, 'f'), 'utf8')).toBe('from a file');
    expect(readFileSync(join(dest, 'e'), 'utf8')).toBe('mine\n');
    expect(readFileSync(join(dest, 'keys'), 'utf8')).toContain('the test key');
    const { code, stderr } = await run('build', '--no-cache', dir);
    expect([code, stderr]).toEqual([1, expect.stringContaining("can't open '/run/secrets/f'")]);
  });

  test('lists, inspects, tags, saves, loads and removes images there', async () => {
    const dir = cli.files('img', { Dockerfile: 'FROM scratch\nCOPY a /\n', a: 'img' });
    await ok('build', '-q', '-t', 'img:1', dir);
    await ok('tag', 'img:1', 'img:2');
    expect((await ok('images', 'img')).stdout).toMatch(/^img +1 +[0-9a-f]{12} +.*\nimg +2 /m);
    expect(JSON.parse((await ok('inspect', '--attestations', 'img:2')).stdout)).toEqual([]);
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

  test('pulls all platforms of an image there', async () => {
    const dir = cli.files('multi', { Dockerfile: 'FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n' });
    const name = `${registry.host}/team/multi:1`;
    const platforms = ['--platform', 'linux/amd64,linux/arm64'];
    await cli.ok(['build', '-q', ...platforms, '-t', name, '--push', dir]);
    await ok('pull', '-q', '--platform', 'linux/amd64', name);
    const { content, images } = daemon.engine.store;
    const index = JSON.parse(String(await content.bytes((await images.get(name))!.target.digest)));
    const here = () =>
      Promise.all(
        index.manifests.map(
          async ({ digest }: { digest: Digest }) => (await content.info(digest)) !== undefined,
        ),
      );
    expect(await here()).toEqual([true, false]);
    await ok('pull', '-q', '--all-platforms', name);
    expect(await here()).toEqual([true, true]);
  });

  test('prunes images without a name there', async () => {
    const build = async (text: string) => {
      const dir = cli.files('renamed', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: text });
      return (await ok('build', '-q', '-t', 'renamed', dir)).stdout.trim();
    };
    const old = await build('one');
    await build('two');
    expect((await ok('images')).stdout).toMatch(new RegExp(`^<none> +<none> +${old.slice(7, 19)}`, 'm'));
    expect((await ok('prune', '--images')).stdout).toContain(`${old}\n`);
    await ok('rmi', 'renamed');
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
