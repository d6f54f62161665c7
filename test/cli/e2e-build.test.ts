/** `drydock build` as a user types it: every context and every flag, through the real command. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';

let cli: Cli;
let server: Server;
let origin: string;

beforeAll(async () => {
  cli = new Cli();
  await cli.makeBase();
  server = createServer((req, res) => {
    const file = join(cli.dir, 'served', new URL(req.url ?? '/', 'http://x').pathname);
    if (existsSync(file) && statSync(file).isFile()) res.end(readFileSync(file));
    else res.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server?.close();
  cli?.close();
});

let count = 0;
/** A context with one Dockerfile. */
const context = (dockerfile: string, files: Record<string, string> = {}) =>
  cli.files(`context${++count}`, { Dockerfile: dockerfile, ...files });
const read = (dir: string, path: string) => readFileSync(join(dir, path), 'utf8');

describe('contexts', () => {
  const dockerfile = 'FROM scratch\nCOPY f /f\n';

  test('a folder, with -f inside it, outside it, and on stdin', async () => {
    const dir = context('FROM scratch\n', { f: 'f', 'build/Other': dockerfile });
    expect(read(await cli.extract(dir, ['-f', join(dir, 'build/Other')]), 'f')).toBe('f');
    const elsewhere = join(cli.files('elsewhere', { My: dockerfile, 'My.dockerignore': '' }), 'My');
    expect(read(await cli.extract(dir, ['-f', elsewhere]), 'f')).toBe('f');
    const dest = join(cli.dir, 'stdin-out');
    await cli.ok(['build', '-q', '-f', '-', '-o', dest, dir], { input: dockerfile });
    expect(read(dest, 'f')).toBe('f');
  });

  test('-: a tar, plain or gzipped, or just a Dockerfile', async () => {
    const dir = context(dockerfile, { f: 'from a tar' });
    for (const flag of ['c', 'cz']) {
      const dest = join(cli.dir, `tar-out-${flag}`);
      await cli.ok(['build', '-q', '-o', dest, '-'], { input: execFileSync('tar', [flag, '-C', dir, '.']) });
      expect(read(dest, 'f')).toBe('from a tar');
    }
    const { stdout } = await cli.ok(['build', '-q', '-'], { input: 'FROM scratch\nLABEL a=b\n' });
    expect(stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
  });

  test('http: a tar, and a Dockerfile', async () => {
    const dir = context(dockerfile, { f: 'over http' });
    cli.files('served', {
      'c.tar.gz': execFileSync('tar', ['cz', '-C', dir, '.']),
      Dockerfile: 'FROM base\nRUN echo web > /web\n',
    });
    expect(read(await cli.extract(`${origin}/c.tar.gz`), 'f')).toBe('over http');
    expect(read(await cli.extract(`${origin}/Dockerfile`), 'web')).toBe('web\n');
    const { code, stderr } = await cli.run(['build', `${origin}/none.tar`]);
    expect(code).toBe(1);
    expect(stderr).toContain('/none.tar');
    expect(stderr).toContain('404');
  });

  test('git: a branch and a folder of it', async () => {
    const repo = cli.files('repo', { 'sub/Dockerfile': dockerfile, 'sub/f': 'from git' });
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
        cwd: repo,
        stdio: 'pipe',
      });
    git('init', '-q', '-b', 'trunk');
    git('add', '.');
    git('commit', '-qm', 'one');
    execFileSync('git', ['clone', '-q', '--bare', repo, join(cli.dir, 'served/app.git')], { stdio: 'pipe' });
    execFileSync('git', ['update-server-info'], { cwd: join(cli.dir, 'served/app.git') });
    expect(read(await cli.extract(`${origin}/app.git#trunk:sub`), 'f')).toBe('from git');
    // What was fetched and checked out shows, and goes.
    const du = async () => (await cli.ok(['du'])).stdout;
    expect(await du()).toContain('load git source');
    expect(await du()).toContain(`git repository ${origin}/app.git`);
    await cli.ok(['prune', '-a', '--filter', 'type=source.git.checkout']);
    expect(await du()).not.toContain('git repository');
    expect(readdirSync(join(cli.root, 'git')).filter((name) => !name.endsWith('.lock'))).toEqual([]);
    expect(read(await cli.extract(`${origin}/app.git#trunk:sub`), 'f')).toBe('from git');
  });

  test('what is not there', async () => {
    const { code, stderr } = await cli.run(['build', '/no/such/folder']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('path "/no/such/folder" not found')]);
    const missing = await cli.run(['build', cli.files('bare', { 'Web.Dockerfile': 'FROM scratch\n' })]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain('open Dockerfile: no such file or directory');
    expect(missing.stderr).toContain('-f Web.Dockerfile');
  });
});

describe('flags', () => {
  test('-t --label --build-arg --target --platform --iidfile --metadata-file name and shape the image', async () => {
    const dir = context(
      'FROM base AS one\nARG A=0\nARG B\nENV A=$A B=$B\nLABEL l=file\nFROM one\nRUN exit 1\n',
    );
    const [iid, metadata] = [join(cli.dir, 'iid'), join(cli.dir, 'metadata.json')];
    await cli.ok(
      [
        ...[
          'build',
          '-t',
          'n1',
          '--tag=reg.example/n2:v',
          '--label',
          'l=flag',
          '--label',
          'm=1',
          '--target',
          'one',
        ],
        ...['--build-arg', 'A=1', '--build-arg', 'B', '--platform', 'linux/amd64', '--iidfile', iid],
        ...['--metadata-file', metadata, dir],
      ],
      { env: { B: 'env' } },
    );
    const image = await cli.inspect<{
      Id: string;
      RepoTags: string[];
      Config: { Env: string[]; Labels: object };
    }>('n1');
    expect(image.RepoTags.sort()).toEqual(['n1:latest', 'reg.example/n2:v']);
    expect(image.Config.Env).toEqual(['PATH=/bin', 'A=1', 'B=env']);
    expect(image.Config.Labels).toEqual({ l: 'flag', m: '1' });
    expect(readFileSync(iid, 'utf8')).toBe(
      JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.config.digest'],
    );
    expect(JSON.parse(readFileSync(metadata, 'utf8'))).toMatchObject({
      'containerimage.digest': expect.stringMatching(/^sha256:/),
      'image.name': 'docker.io/library/n1:latest,reg.example/n2:v',
    });
  });

  test('--no-cache and --no-cache-filter run steps again, --progress=plain shows which did', async () => {
    const dir = context(
      'FROM base AS a\nRUN echo a$RANDOM > /a\nFROM base AS b\nCOPY --from=a /a /\nRUN echo > /b\n',
    );
    const args = ['build', '--progress=plain', '-o', 'type=cacheonly'];
    const cached = async (...more: string[]) => {
      const { stderr } = await cli.ok([...args, ...more, dir]);
      const numbers = [...stderr.matchAll(/^#(\d+) CACHED$/gm)].map(([, n]) => n);
      return numbers.flatMap((n) => new RegExp(`^#${n} \\[(.*?)\\] (RUN|COPY)`, 'm').exec(stderr)?.[2] ?? []);
    };
    expect(await cached()).toEqual([]);
    expect((await cached()).sort()).toEqual(['COPY', 'RUN', 'RUN']);
    expect(await cached('--no-cache')).toEqual([]);
    expect(await cached('--no-cache-filter', 'b')).toEqual(['RUN']);
  });

  test('--add-host --network --shm-size --ulimit reach RUN steps', async () => {
    const run =
      'grep my.host /etc/hosts; ulimit -n; grep -c : /proc/net/dev; grep -o "/dev/shm .*" /proc/mounts';
    const dir = context(`FROM base\nRUN (${run.replaceAll('grep', 'busybox grep')}) > /o; true\n`);
    const flags = [
      '--add-host',
      'my.host:10.1.2.3',
      '--network=none',
      '--shm-size=3m',
      '--ulimit',
      'nofile=77:88',
    ];
    const out = read(await cli.extract(dir, flags), 'o').split('\n');
    expect(out[0]).toMatch(/^10\.1\.2\.3\s+my\.host$/);
    expect(out[1]).toBe('77');
    expect(out[2]).toBe('1');
    // The last mount is the one that is seen.
    expect(out.filter((line) => line.startsWith('/dev/shm')).at(-1)).toContain('size=3072k');
    const { code, stderr } = await cli.run(['build', '--network', 'wifi', dir]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('Modes: default, none, host')]);
  });

  test('--secret from a file and from the environment', async () => {
    const dir = context(`FROM base
RUN --mount=type=secret,id=f cat /run/secrets/f > /f
RUN --mount=type=secret,id=e,env=E echo $E > /e
RUN --mount=type=secret,id=TOKEN,required=true cat /run/secrets/TOKEN > /t
`);
    const file = join(cli.files('secrets', { f: 'from a file' }), 'f');
    const flags = ['--secret', `id=f,src=${file}`, '--secret', 'id=e,env=MINE', '--secret', 'id=TOKEN'];
    const dest = join(cli.dir, 'secret-out');
    await cli.ok(['build', '-q', '-o', dest, ...flags, dir], { env: { MINE: 'mine', TOKEN: 'tok' } });
    expect([read(dest, 'f'), read(dest, 'e'), read(dest, 't')]).toEqual(['from a file', 'mine\n', 'tok']);
    const { code, stderr } = await cli.run(['build', '--secret', 'id=x,src=/no/such', dir]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('/no/such')]);
  });

  test('--ssh default and a key of its own', async () => {
    const dir = context(
      'FROM base\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK\nRUN --mount=type=ssh,id=k test -S $SSH_AUTH_SOCK && echo ok > /o\n',
    );
    const key = join(cli.files('ssh', {}), 'key');
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    expect(read(await cli.extract(dir, ['--ssh', `default=${key}`, '--ssh', `k=${key}`]), 'o')).toBe('ok\n');
    const { code, stderr } = await cli.run(['build', '--ssh', `default=${key}.none`, dir]);
    expect([code, stderr]).toEqual([1, expect.stringContaining(`${key}.none`)]);
  });

  test('--build-context: a folder, an image, an OCI layout by tag, a URL', async () => {
    const dir = context('FROM alpine\nCOPY --from=files f /f\nCOPY --from=lay /bin/busybox /b\n');
    const layout = join(cli.dir, 'layout');
    await cli.ok([
      'build',
      '-q',
      '-t',
      'x:v7',
      '-o',
      `type=oci,tar=false,dest=${layout}`,
      context('FROM base\n'),
    ]);
    const files = cli.files('named', { f: 'named' });
    for (const lay of [`oci-layout://${layout}:v7`, `oci-layout://${layout}`, 'docker-image://base']) {
      const flags = ['alpine=docker-image://base', `files=${files}`, `lay=${lay}`];
      const out = await cli.extract(
        dir,
        flags.flatMap((flag) => ['--build-context', flag]),
      );
      expect(read(out, 'f')).toBe('named');
      expect(statSync(join(out, 'b')).size).toBe(statSync(join(out, 'bin/busybox')).size);
    }
    const { code, stderr } = await cli.run([
      ...['build', '--build-context', `alpine=oci-layout://${layout}:v8`],
      ...['--build-context', `files=${files}`, '--build-context', 'lay=docker-image://base', dir],
    ]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('there is no image tagged v8')]);
  });

  test('--output in all its forms, --load beside them', async () => {
    const dir = context('FROM base AS b\nRUN echo 1 > /one\nFROM scratch\nCOPY --from=b /one /\n');
    const at = (name: string) => join(cli.dir, 'outputs', name);
    const specs = [
      ...[at('folder'), `type=tar,dest=${at('f.tar')}`, `type=oci,dest=${at('oci.tar')},compression=zstd`],
      ...[`type=docker,dest=${at('docker.tar')}`, `type=local,dest=${at('local')}`],
    ];
    await cli.ok(['build', '-q', '-t', 'outs', '--load', ...specs.flatMap((spec) => ['-o', spec]), dir]);
    expect(read(at('folder'), 'one') + read(at('local'), 'one')).toBe('1\n1\n');
    const list = (tar: string) => execFileSync('tar', ['tf', at(tar)], { encoding: 'utf8' });
    expect(list('f.tar')).toBe('one\n');
    expect(list('oci.tar')).toContain('index.json');
    expect(list('docker.tar')).toContain('manifest.json');
    expect((await cli.ok(['images', '-q', 'outs'])).stdout).toMatch(/^[0-9a-f]{12}\n$/);
    const piped = await cli.ok(['build', '-q', '-o', '-', dir]);
    expect(piped.stdout).toContain('one');
    const { code, stderr } = await cli.run(['build', '-o', 'type=ocii,dest=x', dir]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('could not be found')]);
  });

  test('--check reports the checks and fails on findings', async () => {
    const clean = await cli.run(['build', '--check', context('FROM base AS a\nRUN exit 1\n')]);
    expect([clean.code, clean.stdout]).toEqual([0, expect.stringMatching(/no warnings/i)]);
    const { code, stdout } = await cli.run(['build', '--check', context('FROM base as a\nMAINTAINER me\n')]);
    expect(code).toBe(1);
    expect(stdout).toContain('FromAsCasing');
    expect(stdout).toContain('MaintainerDeprecated');
  });

  test('--progress=rawjson prints one JSON object a line; --quiet the image ID', async () => {
    const dir = context('FROM base\nRUN echo hello\n');
    const { stderr } = await cli.ok(['build', '--progress=rawjson', '--no-cache', dir]);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { logs?: { data: string }[] });
    const logs = lines.flatMap(({ logs = [] }) =>
      logs.map(({ data }) => Buffer.from(data, 'base64').toString()),
    );
    expect(logs.join('')).toContain('hello\n');
    const quiet = await cli.ok(['build', '-q', dir]);
    expect([quiet.stdout, quiet.stderr]).toEqual([expect.stringMatching(/^sha256:\w{64}\n$/), '']);
    const bad = await cli.run(['build', '--progress=plian', dir]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('Did you mean plain?')]);
  });

  test('flags without effect are said to be so, misspelt ones corrected', async () => {
    const dir = context('FROM base\n');
    const { stderr } = await cli.ok(['build', '-m', '1g', '--squash', dir]);
    expect(stderr).toMatch(/--memory has no effect/);
    expect(stderr).toMatch(/--squash has no effect/);
    const bad = await cli.run(['build', '--no-cahce', dir]);
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('--no-cache')]);
  });

  test('--cache-to and --cache-from: a folder, and a cache that is not there', async () => {
    const text = `FROM base\nRUN cat /proc/sys/kernel/random/uuid > /id\n`;
    const dir = context(text);
    const cache = join(cli.dir, 'cache');
    await cli.ok(['build', '--no-cache', '--cache-to', `type=local,dest=${cache},mode=max`, dir]);
    await cli.ok(['prune', '--all', '--force']);
    const args = ['build', '--progress=plain', '--cache-from', `type=local,src=${cache}`, dir];
    const { stderr } = await cli.ok(args);
    expect(stderr).toMatch(/^#\d+ importing cache manifest from local:/m);
    expect(stderr).toMatch(/\] RUN cat .*\n#\d+ CACHED$/m);
    const missing = await cli.ok(['build', '--progress=plain', '--cache-from', '127.0.0.1:1/x', dir]);
    expect(missing.stderr).toMatch(
      /^#\d+ WARN: importing cache from 127.0.0.1:1\/x:latest: .*connection refused; the build goes on without it$/m,
    );
  });

  test('SOURCE_DATE_EPOCH and rewrite-timestamp: two builds, one digest', async () => {
    const dir = context('FROM base\nRUN echo x > /x\nCOPY f /\n', { f: '1' });
    const digest = async () => {
      const file = join(cli.dir, 'repeat.json');
      const output = 'type=image,rewrite-timestamp=true';
      await cli.ok(['build', '--no-cache', '-o', output, '--metadata-file', file, dir], {
        env: { SOURCE_DATE_EPOCH: '1700000000' },
      });
      return JSON.parse(readFileSync(file, 'utf8'))['containerimage.digest'];
    };
    expect(await digest()).toBe(await digest());
  });
});

test('a failing step: its log, the lines of the Dockerfile, the exit code', async () => {
  const { code, stderr } = await cli.run(['build', context('FROM base\nRUN echo why && exit 7\n')]);
  expect(code).toBe(1);
  expect(stderr).toContain('why');
  expect(stderr).toContain('Dockerfile:2');
  expect(stderr).toContain('>>> RUN echo why && exit 7');
  expect(stderr).toContain('exit code: 7');
});
