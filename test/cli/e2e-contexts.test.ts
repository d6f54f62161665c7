/** What `drydock build` builds: folders, stdin, http, git, through the real command. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
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

  test('folders and files whose paths are no UTF-8, and working in such a folder', () => {
    const dir = cli.files('bytes', { 'ctx/Dockerfile': dockerfile, 'ctx/f': 'f' });
    const script = `set -e; c="$(printf 'ctx\\351')"; mv ctx "$c"; mv "$c/Dockerfile" "$c/$(printf 'D\\350')"
      "$D" build -q -f "$c/$(printf 'D\\350')" -o "type=local,dest=$(printf 'out\\351')" "$c"
      cd "$c"; "$D" build -q -f "$(printf 'D\\350')" --build-context "x=../$c" -o "type=tar,dest=$(printf '../o\\377.tar')" -o type=local,dest=../o .
      cd ..; cat "$(printf 'out\\351')/f" o/f; tar xOf "$(printf 'o\\377.tar')" f`;
    const env = { ...cli.environment(), D: join(import.meta.dirname, '../../bin/drydock') };
    expect(execFileSync('sh', ['-c', script], { cwd: dir, env, encoding: 'utf8' })).toBe('fff');
  });

  test('a Dockerfile from a web server, for a folder or a tar', async () => {
    cli.files('served', { 'remote/App.dockerfile': dockerfile });
    const dir = context('FROM nothing\n', { f: 'local file' });
    const url = `${origin}/remote/App.dockerfile`;
    expect(read(await cli.extract(dir, ['-f', url]), 'f')).toBe('local file');
    const dest = join(cli.dir, 'url-tar-out');
    await cli.ok(['build', '-q', '-f', url, '-o', dest, '-'], {
      input: execFileSync('tar', ['c', '-C', dir, '.']),
    });
    expect(read(dest, 'f')).toBe('local file');
    const missing = await cli.run(['build', '-f', `${origin}/remote/none`, dir]);
    expect(missing.code).not.toBe(0);
    expect(missing.stderr).toMatch(/404/);
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

  /** A repository with a branch `trunk`, whose folder `sub` has the Dockerfile and `f`. */
  function repository(name: string, text: string): string {
    const repo = cli.files(name, { 'sub/Dockerfile': dockerfile, 'sub/f': text });
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
        cwd: repo,
        stdio: 'pipe',
      });
    git('init', '-q', '-b', 'trunk');
    git('add', '.');
    git('commit', '-qm', 'one');
    return repo;
  }

  test('git: a branch and a folder of it', async () => {
    const repo = repository('repo', 'from git');
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

  test('git://: what a git daemon serves', async () => {
    repository('daemon-repo', 'from a git daemon');
    // One git daemon a connection, as inetd starts it.
    const inetd = createTcpServer({ allowHalfOpen: true }, (socket) => {
      const args = ['daemon', '--inetd', '--export-all', `--base-path=${cli.dir}`];
      const child = spawn('git', args, { stdio: ['pipe', 'pipe', 'ignore'] });
      socket
        .on('error', () => child.kill())
        .pipe(child.stdin)
        .on('error', () => {});
      child.stdout.pipe(socket);
    });
    await new Promise<void>((resolve) => inetd.listen(0, '127.0.0.1', resolve));
    try {
      const url = `git://127.0.0.1:${(inetd.address() as AddressInfo).port}/daemon-repo/.git`;
      expect(read(await cli.extract(`${url}#trunk:sub`), 'f')).toBe('from a git daemon');
      const { code, stderr } = await cli.run(['build', `${url}#nosuch`]);
      expect([code, stderr]).toEqual([1, expect.stringContaining('nosuch')]);
    } finally {
      inetd.close();
    }
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
